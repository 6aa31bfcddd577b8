//! AsyncAPI 3.0: every topic with its message.

use serde_json::{Map, Value, json};

use super::{File, banner, event_schema, pascal};
use crate::catalog::Catalog;

pub(super) fn file(catalog: &Catalog) -> File {
    let mut channels = Map::new();
    let mut operations = Map::new();
    let mut messages = Map::new();
    for event in catalog.events.values() {
        let message = pascal(&event.name);
        let mut schema = event_schema(catalog, event, event.version());
        if let Value::Object(schema) = &mut schema {
            schema.remove("$schema");
        }
        messages.insert(
            message.clone(),
            json!({
                "name": event.name,
                "title": event.source.doc,
                "contentType": "application/json",
                "payload": {"schemaFormat": "application/schema+json;version=draft-2020-12", "schema": schema},
            }),
        );
        channels.insert(
            event.name.clone(),
            json!({
                "address": event.topic,
                "description": event.source.doc,
                "messages": {message.clone(): {"$ref": format!("#/components/messages/{message}")}},
            }),
        );
        operations.insert(
            format!("send_{}", event.name),
            json!({"action": "send", "channel": {"$ref": format!("#/channels/{}", event.name)}}),
        );
    }
    let document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": catalog.file.name.as_str(),
            "version": "1.0.0",
            "description": catalog.file.doc.clone().unwrap_or_else(|| banner(catalog)),
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    });
    File::json("asyncapi.json", &document)
}
