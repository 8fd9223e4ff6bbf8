"""The database: its tables, its engines, and how it is upgraded. SQLite by default, PostgreSQL by address."""
