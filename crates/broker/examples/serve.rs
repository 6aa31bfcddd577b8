//! Serves a broker on the loopback interface until it is interrupted:
//! `serve PORT DIRECTORY [--fsync] [--user NAME:PASSWORD] [--partitions N]`.

use std::error::Error;

use tidegate_broker::{Broker, BrokerOptions, Fsync, Listener};

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
            "--user" => {
                let user = value()?;
                let (name, password) = user.split_once(':').ok_or("`--user` expects NAME:PASSWORD")?;
                options.users.set(name, password)?;
                options.listeners = options.listeners.into_iter().map(Listener::with_sasl).collect();
            }
            _ => return Err(format!("unknown flag `{flag}`").into()),
        }
    }
    let broker = Broker::start(options).await?;
    println!("{}", broker.address());
    tokio::signal::ctrl_c().await?;
    broker.stop().await;
    Ok(())
}
