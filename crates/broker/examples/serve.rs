//! Serves a broker on the loopback interface until it is interrupted, and prints an address a line:
//! `serve PORT DIRECTORY [--fsync] [--partitions N] [--guarded NAME:PASSWORD]`.
//!
//! With `--guarded` it listens on a second port too, with TLS, whose certificate is in `DIRECTORY/tls`, and
//! SASL, for that user.

use std::error::Error;
use std::net::SocketAddr;

use tidegate_broker::{Broker, BrokerOptions, Fsync, Listener, Tls};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let listener = Listener::loopback(arguments.next().ok_or("a port is expected")?.parse()?);
    let mut options = BrokerOptions::new(arguments.next().ok_or("a directory is expected")?, listener);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("`{flag}` expects a value"));
        match flag.as_str() {
            "--fsync" => options.fsync = Fsync::EveryAppend,
            "--partitions" => options.default_partitions = value()?.parse()?,
            "--guarded" => {
                let user = value()?;
                let (name, password) = user.split_once(':').ok_or("`--guarded` expects NAME:PASSWORD")?;
                options.users.set(name, password)?;
                let tls = Tls::self_signed(&options.data_dir.join("tls"), &["localhost", "127.0.0.1"])?;
                options.listeners.push(Listener::guarded(SocketAddr::from(([127, 0, 0, 1], 0)), tls));
            }
            _ => return Err(format!("unknown flag `{flag}`").into()),
        }
    }
    let broker = Broker::start(options).await?;
    for address in broker.addresses() {
        println!("{address}");
    }
    tokio::signal::ctrl_c().await?;
    broker.stop().await;
    Ok(())
}
