//! The schema registry of the single machine's stack.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Context;
use tidegate_kafka::KafkaOptions;
use tidegate_registry::{Registry, Server, User, Users};
use tidegate_registry_client::{RegistryClient, RegistryOptions, Secret, Url};

use super::access::{Access, KAFKA_USER, Passwords};
use super::front::Front;

/// A registry on the embedded Kafka, and its listener.
pub struct SchemaRegistry {
    server: Server,
    front: Option<Front>,
    scheme: &'static str,
}

impl SchemaRegistry {
    /// Starts it on the embedded Kafka.
    ///
    /// # Errors
    /// When the topic cannot be read, or the address cannot be listened on.
    pub async fn start(
        kafka: &KafkaOptions,
        (access, passwords): (&Access, Option<&Passwords>),
        port: u16,
    ) -> anyhow::Result<Self> {
        let registry = Registry::start(&tidegate_registry::RegistryOptions::new(kafka.clone()))
            .await
            .context("start the schema registry")?;
        let scheme = access.scheme();
        let listening = |address: SocketAddr| format!("listen on {address} for the schema registry");
        match (access, passwords) {
            (Access::Network(network), Some(passwords)) => {
                // Who may use Kafka may use the registry.
                let user: User = format!("{KAFKA_USER}:{}:writer", passwords.kafka).parse()?;
                let behind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                let server = Server::start(behind, registry, Users(vec![user])).await;
                let server = server.with_context(|| listening(behind))?;
                let front = Front::start(access.at(port), server.address(), network.tls.clone()).await?;
                Ok(Self { server, front: Some(front), scheme })
            }
            (Access::Network(_) | Access::Machine, _) => {
                let address = access.at(port);
                let server = Server::start(address, registry, Users::default()).await;
                let server = server.with_context(|| listening(address))?;
                Ok(Self { server, front: None, scheme })
            }
        }
    }

    /// A client within this process.
    ///
    /// # Errors
    /// When the client cannot be set up.
    pub fn client(&self, passwords: Option<&Passwords>) -> anyhow::Result<RegistryClient> {
        let mut address = self.server.address();
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let mut options = RegistryOptions::new(Url::parse(&format!("http://{address}"))?);
        let login = |passwords: &Passwords| (KAFKA_USER.to_owned(), Secret::new(passwords.kafka.clone()));
        options.login = self.front.as_ref().and(passwords).map(login);
        RegistryClient::new(options).context("set up the client of the schema registry")
    }

    /// Where clients reach it.
    #[must_use]
    pub fn url(&self) -> String {
        let address = self.front.as_ref().map_or_else(|| self.server.address(), Front::address);
        format!("{}://{address}", self.scheme)
    }
}
