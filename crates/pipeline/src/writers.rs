//! Where the schemas come from that values name: asked for before the first of their records is decoded.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidegate_codec::{SchemaKey, WireFormat, WriterSchema, WriterSchemas};
use tidegate_core::{Fault, Record};

/// The future of one question to the registry.
pub type Fetched = Pin<Box<dyn Future<Output = Result<WriterSchema, Fault>> + Send>>;

/// How long it is believed that a schema does not exist: a stream of such records is not to become a
/// stream of questions.
const UNKNOWN_FOR: Duration = Duration::from_secs(10);

/// The schemas that a connector's records were written with. Cheap to clone; clones share what is known.
#[derive(Clone)]
pub struct Writers {
    pub(crate) format: WireFormat,
    pub(crate) known: WriterSchemas,
    fetch: Arc<dyn Fn(SchemaKey) -> Fetched + Send + Sync>,
    /// When the registry said that there is no such schema.
    unknown: Arc<Mutex<HashMap<SchemaKey, Instant>>>,
}

impl Writers {
    /// Schemas found by `fetch`, which keeps what it finds and says [`WriterSchema::Unknown`] only where
    /// the registry does.
    pub fn new(format: WireFormat, fetch: impl Fn(SchemaKey) -> Fetched + Send + Sync + 'static) -> Self {
        Self { format, known: WriterSchemas::default(), fetch: Arc::new(fetch), unknown: Arc::default() }
    }

    /// Sees to it that a record's schema is known, or known not to exist.
    ///
    /// # Errors
    /// If the registry does not say.
    pub(crate) async fn prepare(&self, record: &Record<'_>) -> Result<(), Fault> {
        let Some(key) = SchemaKey::of(record).filter(|key| !self.known.settled(*key)) else {
            return Ok(());
        };
        if self.lately_unknown(key) {
            return Ok(());
        }
        let schema = (self.fetch)(key).await?;
        match &schema {
            WriterSchema::Unknown => {
                tracing::warn!(%key, "the registry has no such schema");
                self.remember(key);
            }
            WriterSchema::Unusable(why) => tracing::warn!(%key, why, "schema is not usable"),
            WriterSchema::Avro(_) | WriterSchema::Json(_) | WriterSchema::Protobuf(_) => {
                tracing::info!(%key, "schema fetched");
            }
        }
        self.known.insert(key, schema);
        Ok(())
    }

    /// The schema of a record, if there is one.
    pub(crate) fn of(&self, record: &Record<'_>) -> Option<WriterSchema> {
        self.found(record).map(|(_, schema)| schema)
    }

    /// As [`Writers::of`], with its key.
    pub(crate) fn found(&self, record: &Record<'_>) -> Option<(SchemaKey, WriterSchema)> {
        let key = SchemaKey::of(record)?;
        let schema = self.known.get(key)?;
        match schema {
            WriterSchema::Avro(_) | WriterSchema::Json(_) | WriterSchema::Protobuf(_) => Some((key, schema)),
            WriterSchema::Unusable(_) | WriterSchema::Unknown => None,
        }
    }

    fn lately_unknown(&self, key: SchemaKey) -> bool {
        let unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        unknown.get(&key).is_some_and(|since| since.elapsed() < UNKNOWN_FOR)
    }

    fn remember(&self, key: SchemaKey) {
        /// Keys come from records: a hostile stream may invent as many as it likes.
        const KEYS_MAX: usize = 10_000;
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        if unknown.len() >= KEYS_MAX {
            unknown.clear();
        }
        unknown.insert(key, Instant::now());
    }
}

impl fmt::Debug for Writers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writers").field("format", &self.format).finish_non_exhaustive()
    }
}
