//! The figures of docs/single-machine.md. `single-machine life` is what `tidegate up` costs to start, to keep and to
//! stop, with the limits that it is to stay under; `single-machine kafka` is how fast its broker is and what fsync
//! costs, beside Apache Kafka where that is there. Without an argument it is both: `make bench` does that.

mod brokers;
mod life;
mod rates;

use std::process::ExitCode;

fn main() -> ExitCode {
    let what = std::env::args().nth(1);
    let measured = match what.as_deref() {
        None => brokers::measure().and_then(|()| life::measure()),
        Some("kafka") => brokers::measure().map(|()| true),
        Some("life") => life::measure(),
        Some(other) => Err(anyhow::anyhow!("`{other}` cannot be measured; say `kafka`, `life` or nothing")),
    };
    match measured {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
