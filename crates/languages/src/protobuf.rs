//! Protobuf: proto2, proto3 and editions, as the Confluent registry prints and compares them.
//!
//! Begin at [`ProtobufSchema::parse`]. The text becomes a tree, which is what is printed and compared;
//! descriptors are made of the tree where names and options must mean something.

mod builtin;
mod compatible;
mod describe;
mod names;
mod normal;
mod parse;
mod presence;
mod print;
mod read_descriptor;
mod scan;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorProto;
use thiserror::Error;

use crate::budget::TooComplex;
use crate::incompatibility::Incompatibility;
use crate::language::{Referenced, Strictness};
use names::Names;
use tree::File;

/// What a schema's own file is called: in the registry it has no name.
const OWN_NAME: &str = "default";

/// A `.proto` file with everything that it imports.
#[derive(Debug, Clone)]
pub struct ProtobufSchema {
    file: File,
    /// What it imports, directly and through others, by the name of the import.
    imports: BTreeMap<String, Arc<File>>,
}

/// Why a text is no Protobuf schema.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtobufError {
    /// The text is no `.proto` file.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// From one.
        line: usize,
        /// From one, in bytes.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// A reference's text is none.
    #[error("in `{name}`: {source}")]
    Reference {
        /// The reference.
        name: String,
        /// What is wrong with it.
        source: Box<ProtobufError>,
    },
    /// An import leads nowhere. Files are never fetched.
    #[error("import \"{name}\" leads nowhere; name the schema in `references`")]
    Unresolved {
        /// The import.
        name: String,
    },
    /// Files import each other.
    #[error("imports go in a circle: {circle}")]
    Circular {
        /// From a file back to itself.
        circle: String,
    },
    /// It is in Base64 and no descriptor of a file.
    #[error("neither the text of a `.proto` file nor a FileDescriptorProto in Base64: {message}")]
    Descriptor {
        /// What is wrong.
        message: String,
    },
    /// A name, a number or an option means nothing, or means two things.
    #[error("{message}")]
    Meaning {
        /// What is wrong.
        message: String,
    },
}

impl ProtobufSchema {
    /// Reads the text of a file, or its descriptor in Base64. A fresh one is checked as a compiler would;
    /// a stored one need not have been.
    ///
    /// # Errors
    /// If it is no Protobuf schema, or imports what is not there.
    pub fn parse(
        text: &str,
        references: &[Referenced],
        strictness: Strictness,
    ) -> Result<Self, ProtobufError> {
        let schema = match descriptor_bytes(text) {
            Some(bytes) => Self::of_descriptor(&bytes, references)?,
            None => {
                let file = parse::parse(text)?;
                let imports = closure(&file, references, strictness)?;
                Self { file, imports }
            }
        };
        if strictness == Strictness::Fresh {
            schema.pool()?;
        }
        Ok(schema)
    }

    fn of_descriptor(bytes: &[u8], references: &[Referenced]) -> Result<Self, ProtobufError> {
        let refused = |message: String| ProtobufError::Descriptor { message };
        let mut descriptor =
            FileDescriptorProto::decode(bytes).map_err(|error| refused(error.to_string()))?;
        let outline = File { imports: descriptor.dependency.clone(), ..File::default() };
        let imports = closure(&outline, references, Strictness::Fresh)?;
        let own = Self { file: outline, imports };
        let mut pool = own.pool_of_imports()?;
        // A name of its own may be that of an import.
        descriptor.name = Some(OWN_NAME.to_owned());
        let named = renamed(bytes);
        pool.decode_file_descriptor_proto(named.as_slice()).map_err(|error| meaning(&error))?;
        Ok(Self { file: read_descriptor::tree(&descriptor, &pool), imports: own.imports })
    }

    /// The text that is stored, as the Confluent registry prints it: without comments.
    #[must_use]
    pub fn canonical(&self) -> String {
        print::print(&self.file)
    }

    /// The text with full names, and everything whose order says nothing in one order.
    #[must_use]
    pub fn normalized(&self) -> String {
        print::print(&normal::normal(&self.file, &Names::of(self)))
    }

    /// The text in another form: `serialized`, its FileDescriptorProto in Base64, or
    /// `ignore_extensions`. `None` if the form is not known.
    ///
    /// # Errors
    /// If the schema was stored by somebody who did not check it, and has no descriptor.
    pub fn formatted(&self, format: &str) -> Option<Result<String, ProtobufError>> {
        match format {
            "serialized" => Some(self.descriptor().map(|bytes| BASE64.encode(bytes))),
            "ignore_extensions" => Some(Ok(print::print(&normal::without_extensions(&self.file)))),
            _ => None,
        }
    }

    /// The file's FileDescriptorProto, encoded. Its name is `default`.
    ///
    /// # Errors
    /// If a name, a number or an option has no meaning.
    pub fn descriptor(&self) -> Result<Vec<u8>, ProtobufError> {
        let file = self.pool()?.get_file_by_name(OWN_NAME);
        Ok(file.map(|file| file.encode_to_vec()).unwrap_or_default())
    }

    /// The FileDescriptorSet of everything that the file imports and, last, the file itself, encoded.
    ///
    /// # Errors
    /// As of [`Self::descriptor`].
    pub fn descriptor_set(&self) -> Result<Vec<u8>, ProtobufError> {
        Ok(self.pool()?.encode_to_vec())
    }

    /// The fields of editions that cannot tell that they were not written, though the descriptor says that
    /// they can: the full name of their message, and their numbers.
    #[must_use]
    pub fn implicit_fields(&self) -> BTreeSet<(String, i32)> {
        let files = self.imports.values().map(AsRef::as_ref).chain([&self.file]);
        files.flat_map(presence::implicit_fields).collect()
    }

    /// Whether the file follows the rules of an edition.
    #[must_use]
    pub const fn edition(&self) -> bool {
        self.file.edition()
    }

    /// Whether both say the same, up to formatting.
    #[must_use]
    pub fn equivalent(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }

    /// Whether the first message has a field of this name.
    #[must_use]
    pub fn has_top_level_field(&self, name: &str) -> bool {
        let Some(first) = tree::messages(&self.file.types).next() else { return false };
        let inside = first.oneofs.iter().flat_map(|oneof| &oneof.fields);
        first.fields.iter().chain(inside).any(|field| field.name == name)
    }

    /// Everything that keeps a reader with this schema from reading what was written with `writer`.
    ///
    /// # Errors
    /// If that takes too long to find out.
    pub fn reads(&self, writer: &Self) -> Result<Vec<Incompatibility>, TooComplex> {
        compatible::check(self, writer)
    }

    fn pool(&self) -> Result<DescriptorPool, ProtobufError> {
        let mut pool = self.pool_of_imports()?;
        let own = describe::describe(OWN_NAME, &self.file, &Names::of(self));
        pool.add_file_descriptor_proto(own).map_err(|error| meaning(&error))?;
        Ok(pool)
    }

    fn pool_of_imports(&self) -> Result<DescriptorPool, ProtobufError> {
        let mut pool = DescriptorPool::global();
        let names = Names::of(self);
        let files = self.imports.iter().filter(|(name, _)| pool.get_file_by_name(name).is_none());
        let files: Vec<FileDescriptorProto> =
            files.map(|(name, file)| describe::describe(name, file, &names)).collect();
        pool.add_file_descriptor_protos(files).map_err(|error| meaning(&error))?;
        Ok(pool)
    }
}

fn meaning(error: &prost_reflect::DescriptorError) -> ProtobufError {
    let place = error.file().filter(|file| *file != OWN_NAME);
    let message = match place {
        Some(file) => format!("in `{file}`: {error}"),
        None => error.to_string(),
    };
    ProtobufError::Meaning { message }
}

/// The bytes of a text that can only be Base64: every `.proto` file has a blank or a semicolon.
fn descriptor_bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    if text.is_empty() || !text.bytes().all(digit) {
        return None;
    }
    BASE64.decode(text).ok()
}

/// An encoded FileDescriptorProto under our name: of a field that comes twice the last one holds. It is
/// kept encoded, since a decoded one loses custom options.
fn renamed(bytes: &[u8]) -> Vec<u8> {
    let name = FileDescriptorProto { name: Some(OWN_NAME.to_owned()), ..FileDescriptorProto::default() };
    let mut renamed = bytes.to_vec();
    renamed.extend(name.encode_to_vec());
    renamed
}

/// Everything that a file imports, directly and through others.
fn closure(
    file: &File,
    references: &[Referenced],
    strictness: Strictness,
) -> Result<BTreeMap<String, Arc<File>>, ProtobufError> {
    let texts = references.iter().map(|one| (one.name.as_str(), one.text.as_str())).collect();
    let mut walk = Closure { texts, strictness, found: BTreeMap::new(), way: Vec::new() };
    walk.add(file)?;
    Ok(walk.found)
}

struct Closure<'a> {
    texts: BTreeMap<&'a str, &'a str>,
    strictness: Strictness,
    found: BTreeMap<String, Arc<File>>,
    /// The imports that have led here.
    way: Vec<String>,
}

/// How long a chain of imports may be.
const WAY_MAX: usize = 100;

impl Closure<'_> {
    fn add(&mut self, file: &File) -> Result<(), ProtobufError> {
        for name in file.all_imports() {
            if let Some(start) = self.way.iter().position(|before| before == name) {
                let circle = self.way[start..].iter().map(String::as_str).chain([name]);
                return Err(ProtobufError::Circular { circle: circle.collect::<Vec<_>>().join(" -> ") });
            }
            if self.found.contains_key(name) {
                continue;
            }
            if self.way.len() == WAY_MAX {
                let message = format!("imports nest deeper than {WAY_MAX} files");
                return Err(ProtobufError::Meaning { message });
            }
            let Some(imported) = self.read(name)? else {
                match self.strictness {
                    Strictness::Fresh => return Err(ProtobufError::Unresolved { name: name.to_owned() }),
                    Strictness::Stored => continue,
                }
            };
            self.way.push(name.to_owned());
            self.add(&imported)?;
            self.way.pop();
            self.found.insert(name.to_owned(), Arc::new(imported));
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<Option<File>, ProtobufError> {
        // What everybody has wins over a reference: there is one `timestamp.proto`.
        if let Some(file) = builtin::file(name) {
            return Ok(Some(file));
        }
        let Some(text) = self.texts.get(name) else { return Ok(None) };
        let inside = |source| ProtobufError::Reference { name: name.to_owned(), source: Box::new(source) };
        parse::parse(text).map(Some).map_err(inside)
    }
}
