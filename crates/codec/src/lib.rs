//! Bytes to columns by a plan compiled once per schema and table.
