//! The client: requests to one instance after the other, and schemas that are kept.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::{Certificate, Method, Url, redirect};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tidegate_core::{Fault, FaultKind};
use tokio::sync::OnceCell;

use crate::answer::{fault, read, transport};
use crate::options::{BuildError, RegistryOptions, Secret};
use crate::schema::{Reference, Referenced, Refused, RequestError, SchemaName, StoredSchema, Version};

/// More schemas than any refers to.
const REFERENCES_MAX: usize = 1000;

/// The registry's word for a schema that does not exist.
const SCHEMA_NOT_FOUND: i64 = 40403;

/// A client of one registry. Cheap to clone; clones share connections and what is known.
#[derive(Debug, Clone)]
pub struct RegistryClient {
    shared: Arc<Shared>,
}

/// What a name stands for, as soon as somebody who asked has the answer.
type Kept = Arc<OnceCell<Result<Arc<StoredSchema>, Missed>>>;

#[derive(Debug)]
struct Shared {
    http: reqwest::Client,
    urls: Vec<Url>,
    /// The instance that answered last.
    current: AtomicUsize,
    login: Option<(String, Secret)>,
    answer_max_bytes: usize,
    kept: Mutex<HashMap<SchemaName, Kept>>,
}

/// What the registry answers about a schema.
#[derive(Deserialize)]
struct SchemaText {
    schema: String,
    #[serde(rename = "schemaType")]
    language: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

/// Why a schema is not kept.
#[derive(Debug, Clone)]
enum Missed {
    Missing,
    Fault(Fault),
}

impl RegistryClient {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    /// When the options contradict themselves or the CA file cannot be used.
    pub fn new(options: RegistryOptions) -> Result<Self, BuildError> {
        if options.urls.is_empty() {
            return Err(BuildError::NoUrl);
        }
        for url in &options.urls {
            let bare = url.username().is_empty() && url.password().is_none();
            let bare = bare && url.query().is_none() && url.fragment().is_none();
            if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !bare {
                return Err(BuildError::Url);
            }
        }
        let shared = Shared {
            http: http_client(&options)?,
            urls: options.urls,
            current: AtomicUsize::new(0),
            login: options.login,
            answer_max_bytes: options.answer_max_bytes,
            kept: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A schema with what it refers to; `None` if the registry says that there is none. Whoever asks at
    /// the same time shares one request and what comes of it; a schema is kept, and never asked for again.
    ///
    /// # Errors
    /// When no instance answers, or none as a registry does.
    pub async fn schema(&self, name: &SchemaName) -> Result<Option<Arc<StoredSchema>>, Fault> {
        let kept = {
            let mut kept = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(kept.entry(name.clone()).or_default())
        };
        let found = kept.get_or_init(|| self.fetch(name)).await;
        if found.is_err() {
            // Names come from records: what does not exist is not remembered. Whoever comes later asks anew.
            let mut all = self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if all.get(name).is_some_and(|other| Arc::ptr_eq(other, &kept)) {
                all.remove(name);
            }
        }
        match found {
            Ok(schema) => Ok(Some(Arc::clone(schema))),
            Err(Missed::Missing) => Ok(None),
            Err(Missed::Fault(fault)) => Err(fault.clone()),
        }
    }

    async fn fetch(&self, name: &SchemaName) -> Result<Arc<StoredSchema>, Missed> {
        let id;
        let path = match name {
            SchemaName::Id(number) => {
                id = number.to_string();
                ["schemas", "ids", &id]
            }
            SchemaName::Guid(guid) => ["schemas", "guids", guid],
        };
        let found: SchemaText = match self.get(&path, &[]).await {
            Ok(found) => found,
            Err(RequestError::Refused(Refused { code: SCHEMA_NOT_FOUND, .. })) => {
                return Err(Missed::Missing);
            }
            Err(RequestError::Refused(refused)) => {
                let server = self.server(self.shared.current.load(Ordering::Relaxed));
                return Err(Missed::Fault(fault(FaultKind::Unknown, &server, &format!("{name}: {refused}"))));
            }
            Err(RequestError::Fault(fault)) => return Err(Missed::Fault(fault)),
        };
        let references = self.references(&found.references).await.map_err(Missed::Fault)?;
        tracing::debug!(schema = %name, "schema fetched");
        Ok(Arc::new(StoredSchema {
            language: found.language.unwrap_or_else(|| "AVRO".to_owned()),
            text: found.schema,
            references,
        }))
    }

    /// Everything that is referred to, and what that refers to, the innermost first.
    ///
    /// # Errors
    /// As [`RegistryClient::schema`]; also where a schema that others refer to is not there.
    pub async fn references(&self, of: &[Reference]) -> Result<Vec<Referenced>, Fault> {
        /// One reference is met before what it refers to, and left after it.
        enum Step {
            Meet(Reference),
            Leave(Referenced),
        }
        let mut met: HashSet<(String, i32)> = HashSet::new();
        let mut found = Vec::new();
        let mut open: Vec<Step> = of.iter().rev().cloned().map(Step::Meet).collect();
        while let Some(step) = open.pop() {
            let reference = match step {
                Step::Leave(referenced) => {
                    found.push(referenced);
                    continue;
                }
                Step::Meet(reference) => reference,
            };
            if !met.insert((reference.subject.clone(), reference.version)) {
                continue;
            }
            if met.len() > REFERENCES_MAX {
                let message =
                    format!("schema registry: more than {REFERENCES_MAX} schemas refer to each other");
                return Err(Fault::new(FaultKind::Unknown, message));
            }
            let version = reference.version.to_string();
            let path = ["subjects", &reference.subject, "versions", &version];
            let version: Version =
                self.get(&path, &[("deleted", "true")]).await.map_err(|error| match error {
                    RequestError::Fault(fault) => fault,
                    RequestError::Refused(refused) => {
                        let message = format!(
                            "reference to `{}` version {}: {refused}",
                            reference.subject, reference.version
                        );
                        Fault::new(FaultKind::Missing, message)
                    }
                })?;
            open.push(Step::Leave(Referenced { name: reference.name, text: version.schema }));
            open.extend(version.references.into_iter().rev().map(Step::Meet));
        }
        Ok(found)
    }

    /// Asks for something.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, RequestError> {
        self.send((Method::GET, path, query), None).await
    }

    /// Sends a request to the instance that answered last; where that fails, to the others in turn.
    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        (method, path, query): (Method, &[&str], &[(&str, &str)]),
        body: Option<&Value>,
    ) -> Result<T, RequestError> {
        let first = self.shared.current.load(Ordering::Relaxed);
        let n_urls = self.shared.urls.len();
        let mut failed = None;
        for at in (first..first + n_urls).map(|at| at % n_urls) {
            match self.send_to(at, (method.clone(), path, query), body).await {
                Err(RequestError::Fault(fault)) => failed = Some(fault),
                answered => {
                    self.shared.current.store(at, Ordering::Relaxed);
                    return answered;
                }
            }
        }
        let none = || Fault::new(FaultKind::Unknown, "no address of a schema registry is stated");
        Err(failed.unwrap_or_else(none).into())
    }

    async fn send_to<T: DeserializeOwned>(
        &self,
        at: usize,
        (method, path, query): (Method, &[&str], &[(&str, &str)]),
        body: Option<&Value>,
    ) -> Result<T, RequestError> {
        let mut url = self.shared.urls[at].clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.shared.http.request(method, url).header("Accept", CONTENT_TYPE);
        if let Some((user, password)) = &self.shared.login {
            request = request.basic_auth(user, Some(password.reveal()));
        }
        if let Some(body) = body {
            request = request.header("Content-Type", CONTENT_TYPE).body(body.to_string());
        }
        let server = self.server(at);
        let response = request.send().await.map_err(|error| transport(&error, &server))?;
        read(response, self.shared.answer_max_bytes, &server).await
    }

    fn server(&self, at: usize) -> String {
        let url = &self.shared.urls[at % self.shared.urls.len()];
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
    }
}

const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

fn http_client(options: &RegistryOptions) -> Result<reqwest::Client, BuildError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
        // A redirect or a proxy from the environment would take the password to a place that nobody
        // stated.
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(options.request_timeout);
    if let Some(path) = &options.tls.ca_file {
        let pem = std::fs::read(path).map_err(|source| BuildError::CaFile { path: path.clone(), source })?;
        builder = builder.tls_certs_merge(Certificate::from_pem_bundle(&pem).map_err(BuildError::Tls)?);
    }
    if options.tls.accept_any_certificate {
        tracing::warn!("certificates of the schema registry are not checked");
        builder = builder.tls_danger_accept_invalid_certs(true).tls_danger_accept_invalid_hostnames(true);
    }
    builder.build().map_err(BuildError::Tls)
}
