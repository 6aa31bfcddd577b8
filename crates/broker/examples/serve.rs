//! Serves a broker until it is interrupted: `serve ADDRESS DIRECTORY [--fsync] [--user NAME:PASSWORD] [--partitions N]`.

use std::error::Error;

use tidegate_broker::{Broker, BrokerOptions, Fsync, User};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().ok_or("an address is expected")?.parse()?;
    let mut options = BrokerOptions::new(arguments.next().ok_or("a directory is expected")?, address);
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("`{flag}` expects a value"));
        match flag.as_str() {
            "--fsync" => options.fsync = Fsync::EveryAppend,
            "--partitions" => options.default_partitions = value()?.parse()?,
            "--user" => {
                let user = value()?;
                let (name, password) = user.split_once(':').ok_or("`--user` expects NAME:PASSWORD")?;
                options.users.push(User { name: name.to_owned(), password: password.to_owned() });
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
