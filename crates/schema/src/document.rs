//! A schema document, and the schema at one place of it.

use std::fmt;
use std::sync::Arc;

use jsonschema::{Draft, Registry};
use serde_json::Value;
use thiserror::Error;

use crate::foreign::Foreign;
use crate::graph::{GraphBuilder, NodeId, Pointers, ROOT_URI, locate, refer_to};
use crate::merge::Merger;
use crate::outline::{Outline, outline};
use crate::rules::{Rules, RulesId, Violation};
use crate::sample::Sampler;

/// What `format` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum FormatMode {
    /// A string without the format is a violation, for the formats that the draft defines.
    #[default]
    Assert,
    /// `format` says something to readers and checks nothing.
    Annotate,
}

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SchemaError {
    /// The text is not JSON.
    #[error("schema is not JSON: {message} at line {line} column {column}")]
    NotJson {
        /// What is wrong.
        message: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// `$schema` names another draft.
    #[error("schema is of draft `{uri}`; expected draft-07 or 2020-12")]
    Draft {
        /// The value of `$schema`.
        uri: String,
    },
    /// A keyword has a value that the draft does not allow.
    #[error("schema at `{pointer}`: {message}")]
    Invalid {
        /// A JSON Pointer into the schema.
        pointer: String,
        /// What is wrong.
        message: String,
    },
    /// A reference leads nowhere. Documents are never fetched.
    #[error("schema reference: {message}")]
    Unresolved {
        /// The reference and where it ends.
        message: String,
    },
    /// The document has nothing at the pointer.
    #[error("schema has nothing at `{pointer}`")]
    NoSuchPointer {
        /// The JSON Pointer.
        pointer: String,
    },
}

impl SchemaError {
    pub(crate) fn unresolved(error: &referencing::Error) -> Self {
        Self::Unresolved { message: error.to_string() }
    }
}

/// A schema document, read and checked once; any number of schemas come out of it. Cheap to clone.
#[derive(Clone)]
pub struct SchemaDocument {
    text_hash: u64,
    value: Arc<Value>,
    draft: Draft,
    registry: Arc<Registry<'static>>,
    /// Where each subschema stands, by its address in `value`.
    pointers: Arc<Pointers>,
    /// Whether it has a `$dynamicRef`.
    dynamic: bool,
}

impl fmt::Debug for SchemaDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaDocument").field("text_hash", &self.text_hash).finish_non_exhaustive()
    }
}

impl SchemaDocument {
    /// Reads a document. Its `$schema` decides the draft, 2020-12 without it. Nothing is fetched.
    ///
    /// # Errors
    /// If the text is not a schema of these drafts.
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        let value = json(text)?;
        let draft = draft(&value)?;
        check_against_draft(&value, draft)?;
        let value = Arc::new(value);
        let registry = Registry::new()
            .draft(draft)
            .add(ROOT_URI, Arc::clone(&value))
            .and_then(jsonschema::RegistryBuilder::prepare)
            .map_err(|error| SchemaError::unresolved(&error))?;
        let pointers = Arc::new(locate(&value));
        let dynamic = mentions(&value, "$dynamicRef");
        let text_hash = text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        Ok(Self { text_hash, value, draft, registry: Arc::new(registry), pointers, dynamic })
    }

    /// Reads a document that refers to others by their names, which come before what refers to them. A
    /// name is taken against the document's own `$id`; a referenced document is also found by the `$id`
    /// that it has itself.
    ///
    /// # Errors
    /// As [`SchemaDocument::parse`].
    pub fn parse_with(text: &str, references: &[(&str, &str)]) -> Result<Self, SchemaError> {
        if references.is_empty() {
            return Self::parse(text);
        }
        Self::parse(&crate::bundle::bundled(text, references)?)
    }

    /// The schema at a JSON Pointer (RFC 6901, or the fragment of a URL with `#` before it).
    /// References are resolved within the document.
    ///
    /// # Errors
    /// If a reference or the pointer leads nowhere, or what it leads to is no schema.
    pub fn schema_at(&self, pointer: &str, formats: FormatMode) -> Result<JsonSchema, SchemaError> {
        let pointer = pointer.strip_prefix('#').unwrap_or(pointer);
        let (graph, node, general) = self.graph_at(pointer, formats)?;
        let mut merger = Merger::new(&graph);
        let root = merger.root(node)?;
        let rules = std::mem::take(&mut merger.rules);
        let outline = outline(&graph.nodes, NodeId(node.0));
        let (text_hash, pointer) = (self.text_hash, pointer.to_owned());
        let compiled = Compiled { text_hash, pointer, formats, root, rules, outline, general };
        Ok(JsonSchema { compiled: Arc::new(compiled) })
    }

    /// What draws values that the schema at a JSON Pointer accepts.
    ///
    /// # Errors
    /// As [`SchemaDocument::schema_at`].
    pub fn sampler(&self, pointer: &str, formats: FormatMode) -> Result<Sampler, SchemaError> {
        let (graph, root, general) = self.graph_at(pointer.strip_prefix('#').unwrap_or(pointer), formats)?;
        Ok(Sampler::new(graph.nodes, root, general))
    }

    /// The graph of what is reachable from a pointer, the node there, and the general validator of it.
    fn graph_at(
        &self,
        pointer: &str,
        formats: FormatMode,
    ) -> Result<(GraphBuilder<'_>, NodeId, Foreign), SchemaError> {
        let schema = self
            .value
            .pointer(pointer)
            .ok_or_else(|| SchemaError::NoSuchPointer { pointer: pointer.to_owned() })?;
        let uri = jsonschema::uri::from_str(ROOT_URI).expect("the constant is a URI");
        let resolver = self.registry.resolver(uri);
        let resolved = resolver
            .lookup(refer_to(pointer)["$ref"].as_str().expect("built as a string"))
            .map_err(|error| SchemaError::unresolved(&error))?;
        let mut graph = GraphBuilder::new(&self.registry, &self.pointers, self.draft, formats);
        let node = graph.add(schema, resolved.resolver())?;
        if self.dynamic {
            // What it leads to depends on the way that a validation took.
            graph.nodes[node.0].whole = Some(refer_to(pointer));
        }
        let general = graph.compile(&refer_to(pointer))?;
        Ok((graph, node, general))
    }
}

/// A JSON Schema of draft 7 or 2020-12, resolved: rules that a decoder fuses, and the general validator.
/// Cheap to clone.
#[derive(Debug, Clone)]
pub struct JsonSchema {
    compiled: Arc<Compiled>,
}

#[derive(Debug)]
struct Compiled {
    text_hash: u64,
    pointer: String,
    formats: FormatMode,
    root: RulesId,
    rules: Vec<Rules>,
    outline: Outline,
    general: Foreign,
}

impl JsonSchema {
    /// Reads a whole document as one schema.
    ///
    /// # Errors
    /// See [`JsonSchema::parse_at`].
    pub fn parse(text: &str) -> Result<Self, SchemaError> {
        Self::parse_at(text, "", FormatMode::default())
    }

    /// Reads the schema at one place of a document. For several places of one document, see
    /// [`SchemaDocument`].
    ///
    /// # Errors
    /// As of [`SchemaDocument::parse`] and [`SchemaDocument::schema_at`].
    pub fn parse_at(text: &str, pointer: &str, formats: FormatMode) -> Result<Self, SchemaError> {
        SchemaDocument::parse(text)?.schema_at(pointer, formats)
    }

    /// The rules of the whole value.
    #[must_use]
    pub fn root(&self) -> RulesId {
        self.compiled.root
    }

    /// The rules of a position of this schema.
    ///
    /// # Panics
    /// If `id` is of another schema, which is a bug.
    #[must_use]
    pub fn rules(&self, id: RulesId) -> &Rules {
        &self.compiled.rules[id.0]
    }

    /// What a table for this schema needs to know.
    #[must_use]
    pub fn outline(&self) -> &Outline {
        &self.compiled.outline
    }

    /// What decides the meaning of the schema, for fingerprints: its text's FNV-1a hash, its place and
    /// format mode.
    #[must_use]
    pub fn identity(&self) -> (u64, &str, FormatMode) {
        (self.compiled.text_hash, &self.compiled.pointer, self.compiled.formats)
    }

    /// The general validator's opinion on a JSON text: at most `most` violations, none if the text
    /// passes or is not JSON. Slow, and thorough.
    #[must_use]
    pub fn violations(&self, json: &[u8], most: usize) -> Vec<Violation> {
        serde_json::from_slice(json)
            .map_or_else(|_| Vec::new(), |value| self.compiled.general.violations(&value, most))
    }

    /// Whether the general validator accepts a value.
    #[must_use]
    pub fn passes(&self, value: &Value) -> bool {
        self.compiled.general.passes(value)
    }
}

/// A text as JSON.
pub(crate) fn json(text: &str) -> Result<Value, SchemaError> {
    serde_json::from_str(text).map_err(|error| SchemaError::NotJson {
        message: error.to_string().split(" at line").next().unwrap_or_default().to_owned(),
        line: error.line(),
        column: error.column(),
    })
}

fn draft(document: &Value) -> Result<Draft, SchemaError> {
    let Some(uri) = document.get("$schema") else { return Ok(Draft::Draft202012) };
    let uri = uri.as_str().unwrap_or_default();
    match uri.trim_end_matches('#') {
        "http://json-schema.org/draft-07/schema" | "https://json-schema.org/draft-07/schema" => {
            Ok(Draft::Draft7)
        }
        "https://json-schema.org/draft/2020-12/schema" => Ok(Draft::Draft202012),
        _ => Err(SchemaError::Draft { uri: uri.to_owned() }),
    }
}

fn check_against_draft(document: &Value, draft: Draft) -> Result<(), SchemaError> {
    let checked = if draft == Draft::Draft7 {
        jsonschema::draft7::meta::validate(document)
    } else {
        jsonschema::draft202012::meta::validate(document)
    };
    checked.map_err(|error| SchemaError::Invalid {
        pointer: error.instance_path().to_string(),
        message: error.masked().to_string(),
    })
}

fn mentions(value: &Value, keyword: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| mentions(item, keyword)),
        Value::Object(members) => {
            members.iter().any(|(name, member)| name == keyword || mentions(member, keyword))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
