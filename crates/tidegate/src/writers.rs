//! The schemas that records name, from the registry's words to those of the codec.

use std::fs;
use std::sync::Arc;

use anyhow::Context;
use tidegate_codec::{ProtobufMessages, SchemaKey, WireFormat, WriterSchema};
use tidegate_config as config;
use tidegate_core::Fault;
use tidegate_languages::avro::{AvroSchema, Defaults};
use tidegate_languages::protobuf::ProtobufSchema;
use tidegate_languages::{Referenced, Strictness};
use tidegate_pipeline::Writers;
use tidegate_registry_client::{
    RegistryClient, RegistryOptions, SchemaName, Secret, StoredSchema, TlsOptions, Url,
};
use tidegate_schema::{FormatMode, SchemaDocument, SchemaError};

/// How to reach a schema registry.
///
/// # Errors
/// When an address is none, or the TLS files cannot be read.
pub fn registry(registry: &config::SchemaRegistry) -> anyhow::Result<RegistryClient> {
    let urls = registry.urls.iter().map(|url| Url::parse(url.as_str()));
    let urls = urls.collect::<Result<Vec<_>, _>>().context("read `registry.urls`")?;
    let first = urls.first().cloned().context("`registry.urls` names no registry")?;
    let mut options = RegistryOptions::new(first);
    options.urls = urls;
    options.login =
        registry.user.as_ref().map(|user| (user.clone(), Secret::new(registry.password.expose())));
    if let Some(tls) = &registry.tls {
        options.tls = TlsOptions { ca_file: tls.ca.clone(), accept_any_certificate: !tls.verify };
    }
    RegistryClient::new(options).context("set up the client of the schema registry")
}

/// The schemas of a connector's records; `None` if its format names none.
///
/// # Errors
/// When the reader's schema cannot be read, or no registry is configured.
pub fn writers(
    connector: &config::Connector,
    registry: Option<&RegistryClient>,
) -> anyhow::Result<Option<Writers>> {
    let format = match connector.format {
        config::Format::Json => return Ok(None),
        config::Format::Avro => WireFormat::Avro { reader: reader(connector)? },
        config::Format::JsonSchema => WireFormat::JsonSchema,
        config::Format::Protobuf => WireFormat::Protobuf,
    };
    let client = registry.context("the connector's format needs a `registry`")?.clone();
    Ok(Some(Writers::new(format, move |key| {
        let client = client.clone();
        Box::pin(async move { fetch(&client, key).await })
    })))
}

/// The Avro schema that records are read through.
fn reader(connector: &config::Connector) -> anyhow::Result<Option<Arc<AvroSchema>>> {
    let Some(source) = &connector.schema else { return Ok(None) };
    let file = source.file.display();
    let text = fs::read_to_string(&source.file).with_context(|| format!("read schema file `{file}`"))?;
    let schema = AvroSchema::parse(&text, &[], Defaults::Checked);
    Ok(Some(Arc::new(schema.with_context(|| format!("read schema file `{file}`"))?)))
}

async fn fetch(client: &RegistryClient, key: SchemaKey) -> Result<WriterSchema, Fault> {
    let name = match key {
        SchemaKey::Id(id) => SchemaName::Id(id),
        SchemaKey::Guid(guid) => SchemaName::Guid(SchemaKey::guid_text(guid)),
    };
    Ok(client.schema(&name).await?.map_or(WriterSchema::Unknown, |stored| read(&stored)))
}

/// A registered schema. One that cannot be read makes its records rejects: what a record contains never
/// stops a partition.
pub fn read(stored: &StoredSchema) -> WriterSchema {
    let unusable = |error: &dyn std::error::Error| WriterSchema::Unusable(error.to_string());
    match stored.language.as_str() {
        "AVRO" => {
            let references: Vec<&str> = stored.references.iter().map(|one| one.text.as_str()).collect();
            match AvroSchema::parse(&stored.text, &references, Defaults::Believed) {
                Ok(schema) => WriterSchema::Avro(Arc::new(schema)),
                Err(error) => unusable(&error),
            }
        }
        "JSON" => {
            match json_document(stored).and_then(|document| document.schema_at("#", FormatMode::Assert)) {
                Ok(schema) => WriterSchema::Json(Arc::new(schema)),
                Err(error) => unusable(&error),
            }
        }
        "PROTOBUF" => {
            let references = stored.references.iter();
            let references: Vec<Referenced> =
                references.map(|one| Referenced { name: one.name.clone(), text: one.text.clone() }).collect();
            match ProtobufSchema::parse(&stored.text, &references, Strictness::Stored) {
                Ok(schema) => match ProtobufMessages::new(&schema) {
                    Ok(messages) => WriterSchema::Protobuf(Arc::new(messages)),
                    Err(error) => unusable(&error),
                },
                Err(error) => unusable(&error),
            }
        }
        other => WriterSchema::Unusable(format!("schemas of type {other} are not read")),
    }
}

/// A registered JSON Schema, with what it refers to.
///
/// # Errors
/// If it cannot be read.
pub fn json_document(stored: &StoredSchema) -> Result<SchemaDocument, SchemaError> {
    let references: Vec<(&str, &str)> =
        stored.references.iter().map(|one| (one.name.as_str(), one.text.as_str())).collect();
    SchemaDocument::parse_with(&stored.text, &references)
}
