//! Everything else that a registry is asked for: subjects, versions, registering, checking.

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::client::RegistryClient;
use crate::schema::{Checked, NewSchema, Refused, RequestError, Version};

#[derive(Deserialize)]
struct Registered {
    id: u32,
}

impl RegistryClient {
    /// The subjects, sorted.
    ///
    /// # Errors
    /// When the registry refuses, or the world fails.
    pub async fn subjects(&self) -> Result<Vec<String>, RequestError> {
        self.get(&["subjects"], &[]).await
    }

    /// A subject's versions.
    ///
    /// # Errors
    /// As [`RegistryClient::subjects`]; 40401 without such a subject.
    pub async fn versions(&self, subject: &str) -> Result<Vec<i32>, RequestError> {
        self.get(&["subjects", subject, "versions"], &[]).await
    }

    /// One version of a subject; `None` for the latest.
    ///
    /// # Errors
    /// As [`RegistryClient::subjects`]; 40401 without such a subject, 40402 without such a version.
    pub async fn version(&self, subject: &str, version: Option<i32>) -> Result<Version, RequestError> {
        let version = version.map_or_else(|| "latest".to_owned(), |version| version.to_string());
        self.get(&["subjects", subject, "versions", &version], &[]).await
    }

    /// Registers a schema, or finds it if it is registered; gives its number.
    ///
    /// # Errors
    /// As [`RegistryClient::subjects`]; 409 or 40901 if it is incompatible with what the subject has,
    /// 42201 if it is no schema.
    pub async fn register(&self, subject: &str, schema: &NewSchema) -> Result<u32, RequestError> {
        let path = ["subjects", subject, "versions"];
        let registered: Registered = self.send((Method::POST, &path, &[]), Some(&json!(schema))).await?;
        Ok(registered.id)
    }

    /// The version of a subject that has this schema; `None` if none has.
    ///
    /// # Errors
    /// As [`RegistryClient::subjects`].
    pub async fn find(&self, subject: &str, schema: &NewSchema) -> Result<Option<Version>, RequestError> {
        match self.send((Method::POST, &["subjects", subject], &[]), Some(&json!(schema))).await {
            Err(RequestError::Refused(Refused { code: 40401 | 40403, .. })) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Says what new schemas of a subject must be compatible with, `BACKWARD_TRANSITIVE` and so on, and how
    /// that is judged: `STRICT` or `LENIENT`, as the registry has it if absent.
    ///
    /// # Errors
    /// As [`RegistryClient::subjects`]; 42203 if there is no such level.
    pub async fn demand(
        &self,
        subject: &str,
        compatibility: &str,
        policy: Option<&str>,
    ) -> Result<(), RequestError> {
        let mut body = json!({ "compatibility": compatibility });
        if let Some(policy) = policy {
            body["compatibilityPolicy"] = json!(policy);
        }
        let told: Result<serde::de::IgnoredAny, _> =
            self.send((Method::PUT, &["config", subject], &[]), Some(&body)).await;
        told.map(drop)
    }

    /// Whether a schema may be registered after what the subject has. With nothing there, anything may.
    ///
    /// # Errors
    /// As [`RegistryClient::subjects`].
    pub async fn check(&self, subject: &str, schema: &NewSchema) -> Result<Checked, RequestError> {
        let path = ["compatibility", "subjects", subject, "versions"];
        let query = [("verbose", "true")];
        match self.send((Method::POST, &path, &query), Some(&json!(schema))).await {
            Err(RequestError::Refused(Refused { code: 40401 | 40402, .. })) => {
                Ok(Checked { is_compatible: true, messages: Vec::new() })
            }
            checked => checked,
        }
    }

    /// Deletes a subject, which can be taken back by registering again; gives the versions that it had.
    ///
    /// # Errors
    /// As [`RegistryClient::subjects`]; 40401 without such a subject.
    pub async fn delete_subject(&self, subject: &str) -> Result<Vec<i32>, RequestError> {
        self.send((Method::DELETE, &["subjects", subject], &[]), None).await
    }

    /// Deletes a subject and its schemas for good; gives the versions that it had.
    ///
    /// # Errors
    /// As [`RegistryClient::delete_subject`].
    pub async fn delete_subject_for_good(&self, subject: &str) -> Result<Vec<i32>, RequestError> {
        // For good goes only what was deleted before.
        self.delete_subject(subject).await?;
        self.send((Method::DELETE, &["subjects", subject], &[("permanent", "true")]), None).await
    }
}
