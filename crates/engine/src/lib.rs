//! A modern ClickHouse out of libchdb.so, run as a supervised child process.
