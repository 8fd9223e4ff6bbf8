"""What goes over the wire: orders in pieces, put together again."""

from __future__ import annotations

import io

import pytest

from gamearchive.archivers.wire import Order, in_pieces, put_together, receive, send
from gamearchive.model import JSON, ArchivalTrigger, Facts, GameRecord, Sender


def order(number: int, count: int) -> Order:
    records = [GameRecord("game", f"{number}-{each}", b"{}", JSON, Facts(status="over")) for each in range(count)]
    return Order(number, Sender(ArchivalTrigger.GAME_COMPLETED, live=True), records)


@pytest.mark.parametrize("count", [0, 1, 32, 33, 100])
def test_orders_arrive_whole_and_in_turn(count: int) -> None:
    orders = [order(1, count), order(2, 1)]
    stream = io.BytesIO()
    for each in orders:
        for piece in in_pieces(each):
            assert len(piece.records) <= 32
            send(stream, piece)
    stream.seek(0)
    assert list(put_together(receive(stream, Order))) == orders


def test_an_order_that_is_cut_off_is_none() -> None:
    pieces = list(in_pieces(order(1, 100)))
    assert list(put_together(pieces[:-1])) == []
