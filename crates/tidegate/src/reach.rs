//! How the tools reach Kafka, ClickHouse and a schema registry: by a sink's file, or by flags.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use tidegate_clickhouse::{Client, ClientOptions, Secret as ClickHouseSecret, Url};
use tidegate_config::{self as config, SinkFile};
use tidegate_kafka::KafkaOptions;
use tidegate_registry_client::{RegistryClient, RegistryOptions, Secret as RegistrySecret};

use crate::cli::WrongUse;
use crate::wire;
use crate::writers;

/// Where the systems are. A flag goes before what the file says.
#[derive(Debug, Clone, Default, Args)]
pub struct Reach {
    /// A sink's configuration file, which says how to reach everything, with passwords and TLS
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// `host:port` of one or more brokers, separated by commas
    #[arg(long, value_name = "BROKERS", value_delimiter = ',')]
    pub bootstrap: Vec<String>,
    /// The schema registry, with user and password if it asks for them: `http://me:secret@registry:8081`
    #[arg(long, value_name = "URL", env = "TIDEGATE_REGISTRY", hide_env_values = true)]
    pub registry: Option<Url>,
    /// ClickHouse's HTTP interface, with user and password: `http://me:secret@clickhouse-1:8123`
    #[arg(long, value_name = "URL", env = "TIDEGATE_CLICKHOUSE_URL", hide_env_values = true)]
    pub clickhouse: Option<Url>,
}

impl Reach {
    fn file(&self) -> anyhow::Result<Option<SinkFile>> {
        Ok(self.config.as_deref().map(config::load_sink).transpose()?)
    }

    /// Kafka.
    ///
    /// # Errors
    /// When neither flag nor file says where it is.
    pub fn kafka(&self) -> anyhow::Result<KafkaOptions> {
        if !self.bootstrap.is_empty() {
            return Ok(KafkaOptions::new(self.bootstrap.clone()));
        }
        let file = self.file()?.ok_or_else(|| needs("Kafka", "--bootstrap HOST:PORT"))?;
        Ok(wire::kafka(&file.kafka))
    }

    /// ClickHouse.
    ///
    /// # Errors
    /// When neither flag nor file says where it is, or the client cannot be set up.
    pub fn clickhouse(&self) -> anyhow::Result<Client> {
        if let Some(url) = &self.clickhouse {
            return Client::new(clickhouse_at(url)).context("set up the clickhouse client");
        }
        let file = self.file()?.ok_or_else(|| needs("ClickHouse", "--clickhouse URL"))?;
        wire::clickhouse(&file.clickhouse)
    }

    /// The database of tables that are named without one.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn database(&self) -> anyhow::Result<String> {
        if self.clickhouse.is_some() {
            return Ok("default".to_owned());
        }
        Ok(self.file()?.map_or_else(|| "default".to_owned(), |file| file.clickhouse.database.to_string()))
    }

    /// The schema registry.
    ///
    /// # Errors
    /// When neither flag nor file says where it is, or the client cannot be set up.
    pub fn registry(&self) -> anyhow::Result<RegistryClient> {
        Ok(self.registry_if_any()?.ok_or_else(|| needs("the schema registry", "--registry URL"))?)
    }

    /// The schema registry; `None` when neither flag nor file says where one is.
    ///
    /// # Errors
    /// When the file cannot be read, or the client cannot be set up.
    pub fn registry_if_any(&self) -> anyhow::Result<Option<RegistryClient>> {
        if let Some(url) = &self.registry {
            let (bare, user, password) = parted(url);
            let mut options = RegistryOptions::new(bare);
            options.login = (!user.is_empty()).then(|| (user, RegistrySecret::new(password)));
            return RegistryClient::new(options)
                .map(Some)
                .context("set up the client of the schema registry");
        }
        let registry = self.file()?.and_then(|file| file.registry);
        registry.as_ref().map(writers::registry).transpose()
    }
}

/// What each server's options are, by addresses with user and password, or by a sink's file.
///
/// # Errors
/// When neither says where they are.
pub fn clickhouse_servers(urls: &[Url], file: Option<&Path>) -> anyhow::Result<Vec<ClientOptions>> {
    if !urls.is_empty() {
        return Ok(urls.iter().map(clickhouse_at).collect());
    }
    let file = file.map(config::load_sink).transpose()?;
    let file = file.ok_or_else(|| needs("ClickHouse", "--clickhouse URL"))?;
    let options = wire::clickhouse_options(&file.clickhouse)?;
    let each = options.urls.iter().map(|url| ClientOptions { urls: vec![url.clone()], ..options.clone() });
    Ok(each.collect())
}

/// A server whose address has user and password in it.
fn clickhouse_at(url: &Url) -> ClientOptions {
    let (bare, user, password) = parted(url);
    let user = if user.is_empty() { "default".to_owned() } else { user };
    ClientOptions::new(bare, user, ClickHouseSecret::new(password))
}

fn needs(what: &str, flag: &str) -> WrongUse {
    WrongUse(format!("nothing says where {what} is; give `{flag}`, or `--config FILE` of a sink"))
}

/// An address without its user and password, and those.
fn parted(url: &Url) -> (Url, String, String) {
    let mut bare = url.clone();
    // An address that cannot have a user has none.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    let plain = |text: &str| unescaped(text);
    (bare, plain(url.username()), plain(url.password().unwrap_or_default()))
}

/// A text of which `%40` and the like are taken back.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_password_leave_the_address() {
        let url = Url::parse("http://me:s%40cret@registry:8081").unwrap();
        let (bare, user, password) = parted(&url);
        assert_eq!(
            (bare.as_str(), user.as_str(), password.as_str()),
            ("http://registry:8081/", "me", "s@cret")
        );
    }
}
