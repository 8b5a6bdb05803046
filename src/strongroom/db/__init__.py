"""The database: engine, transactions, tables and migrations."""
