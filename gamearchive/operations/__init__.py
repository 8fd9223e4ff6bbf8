"""Operations: one verb each, over the whole archive, in bounded chunks. None imports another."""
