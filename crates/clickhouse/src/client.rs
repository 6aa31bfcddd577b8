//! The client: one request at a time to one replica, never repeated here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Method, Url, redirect};
use serde::de::DeserializeOwned;
use tidegate_core::{Fault, FaultKind};
use tidegate_native::{ColumnDefault, Table, TableColumn, Type};

use crate::answer::{Failure, PONG, read};
use crate::insert::RESERVED_SETTINGS;
use crate::options::{BuildError, ClientOptions, Compression, Shown};
use crate::replicas::{Chosen, Replicas};
use crate::sql::quote_text;

/// Idle connections are dropped before ClickHouse drops them: its oldest default is 3 s, and a request
/// on a connection that is just being closed is a fault for nothing.
const IDLE_MAX: Duration = Duration::from_millis(2500);

/// A client of one ClickHouse cluster. Cheap to clone; clones share connections and the replica in use.
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    http: reqwest::Client,
    pub(crate) replicas: Replicas,
    database: String,
    answer_max_bytes: usize,
    pub(crate) compression: Compression,
    pub(crate) insert_settings: Vec<(String, String)>,
}

/// What is sent.
pub(crate) struct Request<'a> {
    /// Beside `wait_end_of_query` and the database.
    pub(crate) parameters: Vec<(&'a str, &'a str)>,
    pub(crate) body: Bytes,
    /// How long it may take, if less than the options let.
    pub(crate) timeout: Option<Duration>,
}

/// How long a server may take to say what a table is. That is a small answer: one that takes longer is not
/// coming, from a connection that nobody has closed, say.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(20);

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// When the options contradict themselves or the CA file cannot be used.
    pub fn new(options: ClientOptions) -> Result<Self, BuildError> {
        if options.urls.is_empty() {
            return Err(BuildError::NoUrl);
        }
        for url in &options.urls {
            let bare = url.username().is_empty() && url.password().is_none();
            let bare = bare && url.query().is_none() && url.fragment().is_none();
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !bare {
                return Err(BuildError::Url { url: Box::new(url.clone()) });
            }
        }
        let taken =
            options.insert_settings.iter().find(|(name, _)| RESERVED_SETTINGS.contains(&name.as_str()));
        if let Some((name, _)) = taken {
            return Err(BuildError::ReservedSetting { name: name.clone() });
        }
        let http = http_client(&options)?;
        let shared = Shared {
            http,
            replicas: Replicas::shuffled(options.urls),
            database: options.database,
            answer_max_bytes: options.answer_max_bytes,
            compression: options.compression,
            insert_settings: options.insert_settings,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Whether the replica in use answers. Says nothing about user, password or tables.
    ///
    /// # Errors
    /// When it does not, or is not ClickHouse.
    pub async fn ping(&self) -> Result<(), Fault> {
        let chosen = self.shared.replicas.current();
        let mut url = chosen.replica.url.clone();
        url.set_path(&format!("{}/ping", url.path().trim_end_matches('/')));
        let request = self.shared.http.request(Method::GET, url);
        let answer = self.exchange(chosen, request).await;
        match answer.map_err(|failure| fault(chosen, failure))?.as_slice() {
            PONG => Ok(()),
            _ => Err(fault(chosen, Failure::world(FaultKind::Unknown, "the answer to /ping is not `Ok.`"))),
        }
    }

    /// The server's version, `26.7.2.1` for example.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn version(&self) -> Result<String, Fault> {
        Ok(self.query("SELECT version()").await?.trim_end().to_owned())
    }

    /// Runs a statement and gives its whole answer as text, in TabSeparated unless it says otherwise.
    ///
    /// # Errors
    /// Any exception, as a fault with its code; an answer longer than the options let; text that is
    /// not UTF-8.
    pub async fn query(&self, sql: &str) -> Result<String, Fault> {
        self.query_with(sql, Vec::new(), None).await
    }

    async fn query_with(
        &self,
        sql: &str,
        parameters: Vec<(&str, &str)>,
        timeout: Option<Duration>,
    ) -> Result<String, Fault> {
        let chosen = self.shared.replicas.current();
        let request = Request { parameters, body: Bytes::copy_from_slice(sql.as_bytes()), timeout };
        let answer = self.post(chosen, request).await.map_err(|failure| fault(chosen, failure))?;
        String::from_utf8(answer)
            .map_err(|_| fault(chosen, Failure::world(FaultKind::Unknown, "the answer is not UTF-8")))
    }

    /// As [`Client::query`], in a format of ClickHouse that the statement may overrule.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn query_as(&self, sql: &str, format: &str) -> Result<String, Fault> {
        let parameters = vec![("default_format", format)];
        self.query_with(sql, parameters, None).await
    }

    /// Runs a statement that has no result: DDL, mostly. A time-out leaves open whether it will still
    /// be carried out.
    ///
    /// # Errors
    /// As [`Client::query`].
    pub async fn execute(&self, sql: &str) -> Result<(), Fault> {
        self.query(sql).await.map(drop)
    }

    /// Runs a SELECT that names no format; each row becomes a `T` by its columns' names.
    ///
    /// # Errors
    /// As [`Client::query`], and when a row is no `T`.
    pub async fn rows<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, Fault> {
        self.rows_within(sql, None).await
    }

    async fn rows_within<T: DeserializeOwned>(
        &self,
        sql: &str,
        timeout: Option<Duration>,
    ) -> Result<Vec<T>, Fault> {
        let text = self.query_with(&format!("{sql} FORMAT JSONEachRow"), Vec::new(), timeout).await?;
        let rows = text.lines().filter(|line| !line.is_empty()).map(serde_json::from_str);
        rows.collect::<Result<_, _>>().map_err(|error| {
            Fault::new(FaultKind::Unknown, format!("clickhouse: a row is not of the expected shape: {error}"))
        })
    }

    /// The table's columns in its order, as the server has them now.
    ///
    /// # Errors
    /// [`FaultKind::Missing`] if there is no such table, or the user may not see it; as
    /// [`Client::query`] besides.
    pub async fn describe(&self, database: &str, table: &str) -> Result<Table, Fault> {
        // Not DESCRIBE: its columns differ from version to version. The rows come in the table's order
        // in every version, `position` exists in the newer ones only.
        let sql = format!(
            "SELECT name, type, default_kind, default_expression FROM system.columns \
             WHERE database = {} AND table = {}",
            quote_text(database),
            quote_text(table),
        );
        let described: Vec<DescribedColumn> = self.rows_within(&sql, Some(DESCRIBE_TIMEOUT)).await?;
        if described.is_empty() {
            let message =
                format!("clickhouse: table `{database}.{table}` does not exist, or user may not see it");
            return Err(Fault::new(FaultKind::Missing, message));
        }
        let columns = described.into_iter().map(DescribedColumn::parse).collect::<Result<_, _>>()?;
        Ok(Table { database: database.to_owned(), name: table.to_owned(), columns })
    }

    /// One POST to one replica.
    pub(crate) async fn post(&self, chosen: Chosen<'_>, request: Request<'_>) -> Result<Vec<u8>, Failure> {
        let mut url: Url = chosen.replica.url.clone();
        url.query_pairs_mut()
            .append_pair("database", &self.shared.database)
            // The status is decided when the query has ended, not when its answer begins.
            .append_pair("wait_end_of_query", "1")
            .extend_pairs(request.parameters);
        let mut post = self.shared.http.request(Method::POST, url).body(request.body);
        if let Some(timeout) = request.timeout {
            post = post.timeout(timeout);
        }
        self.exchange(chosen, post).await
    }

    async fn exchange(
        &self,
        chosen: Chosen<'_>,
        request: reqwest::RequestBuilder,
    ) -> Result<Vec<u8>, Failure> {
        let answered = match request.send().await {
            Ok(response) => read(response, self.shared.answer_max_bytes).await,
            Err(error) => Err(Failure::of_transport(&error)),
        };
        if answered.as_ref().is_err_and(Failure::of_this_replica) {
            self.shared.replicas.leave(chosen);
        }
        answered
    }
}

pub(crate) fn fault(chosen: Chosen<'_>, failure: Failure) -> Fault {
    failure.into_fault(&Shown(&chosen.replica.url).to_string())
}

fn http_client(options: &ClientOptions) -> Result<reqwest::Client, BuildError> {
    let header = |what, text: &str| {
        let mut value = HeaderValue::from_str(text).map_err(|_| BuildError::Header { what })?;
        value.set_sensitive(true);
        Ok(value)
    };
    // Headers, not the URL: URLs end up in logs.
    let headers = HeaderMap::from_iter([
        (HeaderName::from_static("x-clickhouse-user"), header("user", &options.user)?),
        (HeaderName::from_static("x-clickhouse-key"), header("password", options.password.reveal())?),
    ]);
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        // A redirect would take rows and password to a place that nobody stated; so would a proxy
        // from the environment.
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(options.connect_timeout)
        .timeout(options.request_timeout)
        .pool_idle_timeout(IDLE_MAX);
    if let Some(path) = &options.tls.ca_file {
        let pem = std::fs::read(path).map_err(|source| BuildError::CaFile { path: path.clone(), source })?;
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&pem).map_err(BuildError::Tls)?);
    }
    if options.tls.accept_any_certificate {
        tracing::warn!("certificates of ClickHouse are not checked");
        builder = builder.tls_danger_accept_invalid_certs(true).tls_danger_accept_invalid_hostnames(true);
    }
    builder.build().map_err(BuildError::Tls)
}

#[derive(serde::Deserialize)]
struct DescribedColumn {
    name: String,
    #[serde(rename = "type")]
    ty: String,
    default_kind: String,
    default_expression: String,
}

impl DescribedColumn {
    fn parse(self) -> Result<TableColumn, Fault> {
        let foreign = |message| {
            Fault::new(FaultKind::Unknown, format!("clickhouse: column `{}`: {message}", self.name))
        };
        let ty = Type::parse(&self.ty).map_err(|error| foreign(error.to_string()))?;
        let default = match self.default_kind.as_str() {
            "" => ColumnDefault::None,
            "DEFAULT" => ColumnDefault::Default { expression: self.default_expression },
            "MATERIALIZED" => ColumnDefault::Materialized,
            "ALIAS" => ColumnDefault::Alias,
            "EPHEMERAL" => ColumnDefault::Ephemeral,
            other => return Err(foreign(format!("`{other}` is no kind of default that is known"))),
        };
        Ok(TableColumn { name: self.name, ty, default })
    }
}
