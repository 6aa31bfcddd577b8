//! Whether a reader's schema reads what a writer's wrote: the rules of Java's `SchemaCompatibility`,
//! with all differences and their places, and what would help.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use crate::avro::model::{Enumeration, Field, Fixed, Name, NodeId, Record, Shape};
use crate::avro::{AvroError, AvroSchema};
use crate::budget::Budget;
use crate::incompatibility::Incompatibility;

type Differences = Rc<Vec<Incompatibility>>;

pub(super) fn check(reader: &AvroSchema, writer: &AvroSchema) -> Result<Vec<Incompatibility>, AvroError> {
    let mut check =
        Check { reader, writer, known: HashMap::new(), budget: Rc::default(), fields: HashMap::new() };
    let found = check.pair(&Path::Root, reader.root, writer.root)?;
    Ok(found.as_ref().clone())
}

/// Where in the reader's schema.
enum Path<'a> {
    Root,
    Step(&'a Self, Token<'a>),
}

#[derive(Clone, Copy)]
enum Token<'a> {
    Word(&'a str),
    Index(usize),
}

impl Path<'_> {
    fn word<'a>(&'a self, word: &'a str) -> Path<'a> {
        Path::Step(self, Token::Word(word))
    }

    fn index(&self, index: usize) -> Path<'_> {
        Path::Step(self, Token::Index(index))
    }

    /// As a JSON Pointer; of the whole schema, Java says `/`.
    fn pointer(&self) -> String {
        let mut tokens = Vec::new();
        let mut at = self;
        while let Path::Step(before, token) = at {
            tokens.push(match token {
                Token::Word(word) => word.replace('~', "~0").replace('/', "~1"),
                Token::Index(index) => index.to_string(),
            });
            at = before;
        }
        tokens.reverse();
        format!("/{}", tokens.join("/"))
    }
}

struct Check<'a> {
    reader: &'a AvroSchema,
    writer: &'a AvroSchema,
    /// What was found for a pair, or nothing while it is being looked at: until it is proven
    /// incompatible, a pair counts as compatible.
    known: HashMap<(NodeId, NodeId), Option<Differences>>,
    budget: Rc<Budget>,
    /// The writer's fields by name, of records that were looked at.
    fields: HashMap<NodeId, Rc<HashMap<&'a str, &'a Field>>>,
}

type Found = Result<Differences, AvroError>;

impl<'a> Check<'a> {
    fn pair(&mut self, path: &Path<'_>, reader: NodeId, writer: NodeId) -> Found {
        self.budget.take(1)?;
        if let Some(known) = self.known.get(&(reader, writer)) {
            return Ok(known.clone().unwrap_or_default());
        }
        self.known.insert((reader, writer), None);
        let budget = Rc::clone(&self.budget);
        let found = budget.deeper(|| self.calculate(path, reader, writer))?;
        // A broad schema may have one difference in very many places.
        self.budget.take(found.len())?;
        self.known.insert((reader, writer), Some(Rc::clone(&found)));
        Ok(found)
    }

    fn calculate(&mut self, path: &Path<'_>, reader: NodeId, writer: NodeId) -> Found {
        let (ours, theirs) = (&self.reader.node(reader).shape, &self.writer.node(writer).shape);
        match (ours, theirs) {
            (Shape::Array(r), Shape::Array(w)) => self.pair(&path.word("items"), *r, *w),
            (Shape::Map(r), Shape::Map(w)) => self.pair(&path.word("values"), *r, *w),
            (Shape::Fixed(r), Shape::Fixed(w)) => {
                let mut found = names(path, ours, theirs);
                found.extend(sizes(path, r, w));
                Ok(Rc::new(found))
            }
            (Shape::Enum(r), Shape::Enum(w)) => {
                let mut found = names(path, ours, theirs);
                found.extend(symbols(path, r, w));
                Ok(Rc::new(found))
            }
            (Shape::Record(r), Shape::Record(_)) => {
                let mut found = names(path, ours, theirs);
                self.record_fields(path, r, writer, &mut found)?;
                Ok(Rc::new(found))
            }
            (Shape::Union(_), Shape::Union(branches)) => {
                let mut found = Vec::new();
                for (index, branch) in branches.iter().enumerate() {
                    if !self.pair(&Path::Root, reader, *branch)?.is_empty() {
                        found.push(self.missing_branch(&path.index(index), reader, *branch));
                    }
                }
                Ok(Rc::new(found))
            }
            (_, Shape::Union(branches)) => {
                let mut found = Vec::new();
                for (index, branch) in branches.iter().enumerate() {
                    found.extend(self.pair(&path.index(index), reader, *branch)?.iter().cloned());
                }
                Ok(Rc::new(found))
            }
            (Shape::Union(branches), _) => {
                for branch in branches {
                    if self.pair(&Path::Root, *branch, writer)?.is_empty() {
                        return Ok(Differences::default());
                    }
                }
                Ok(Rc::new(vec![self.missing_branch(path, reader, writer)]))
            }
            (r, w) if promotes(w, r) => Ok(Differences::default()),
            (r, w) => Ok(Rc::new(vec![mismatch(path, r, w)])),
        }
    }

    fn record_fields(
        &mut self,
        path: &Path<'_>,
        reader: &'a Record,
        writer: NodeId,
        found: &mut Vec<Incompatibility>,
    ) -> Result<(), AvroError> {
        let fields = path.word("fields");
        for (index, field) in reader.fields.iter().enumerate() {
            let place = fields.index(index);
            match self.writer_field(field, index, writer)? {
                Some(theirs) => {
                    found.extend(self.pair(&place.word("type"), field.node, theirs.node)?.iter().cloned());
                }
                None if field.default.is_some() => {}
                None => {
                    let shape = &self.reader.node(field.node).shape;
                    if matches!(shape, Shape::Enum(Enumeration { default: Some(_), .. })) {
                        // Java compares the enumeration with the whole record here.
                        let place = place.word("type");
                        found.extend(self.pair(&place, field.node, writer)?.iter().cloned());
                    } else {
                        found.push(missing_default(&place, field, shape));
                    }
                }
            }
        }
        Ok(())
    }

    /// The field that the writer wrote for the reader's, by its name or a former one.
    fn writer_field(
        &mut self,
        field: &Field,
        index: usize,
        writer: NodeId,
    ) -> Result<Option<&'a Field>, AvroError> {
        let schema = self.writer;
        let fields = self.fields.entry(writer).or_insert_with(|| match &schema.node(writer).shape {
            Shape::Record(record) => {
                Rc::new(record.fields.iter().map(|field| (field.name.as_str(), field)).collect())
            }
            _ => Rc::default(),
        });
        self.budget.take(field.aliases.len())?;
        let names = std::iter::once(&field.name).chain(&field.aliases);
        let mut matching = names.filter_map(|name| fields.get(name.as_str()).copied());
        let (first, second) = (matching.next(), matching.next());
        if second.is_some() {
            let kind = self.reader.node(field.node).shape.kind().to_uppercase();
            let record = self.writer.subtext(writer);
            return Err(AvroError::invalid(format!(
                "Reader record field {} type:{kind} pos:{index} matches multiple fields in writer record \
                 schema {record}",
                field.name
            )));
        }
        Ok(first)
    }

    fn missing_branch(&self, path: &Path<'_>, reader: NodeId, writer: NodeId) -> Incompatibility {
        let (reader, writer) = (&self.reader.node(reader).shape, &self.writer.node(writer).shape);
        let pointer = path.pointer();
        let template = format!(
            "The %s schema is missing a type inside a union field at path '{pointer}' in the %s schema"
        );
        difference(Rule {
            name: "MISSING_UNION_BRANCH",
            path: pointer,
            template,
            detail: format!("reader union lacking writer type: {}", writer.kind().to_uppercase()),
            reader: say(reader),
            writer: say(writer),
            remedy: format!("add {} to the reader's union", say(writer)),
        })
    }
}

struct Rule {
    name: &'static str,
    path: String,
    template: String,
    detail: String,
    reader: String,
    writer: String,
    remedy: String,
}

fn difference(rule: Rule) -> Incompatibility {
    let Rule { name, path, template, detail, reader, writer, remedy } = rule;
    let template = format!("{{errorType:'{name}', description:'{template}', additionalInfo:'{detail}'}}");
    Incompatibility { rule: name, path, reader, writer, remedy, template }
}

fn names(path: &Path<'_>, reader: &Shape, writer: &Shape) -> Vec<Incompatibility> {
    let (Some(ours), Some(theirs)) = (reader.name(), writer.name()) else { return Vec::new() };
    let full = theirs.full();
    if ours.short() == theirs.short() || reader.aliases().iter().any(|alias| alias.full() == full) {
        return Vec::new();
    }
    let pointer = path.word("name").pointer();
    vec![difference(Rule {
        name: "NAME_MISMATCH",
        template: format!("The name of the schema has changed (path '{pointer}')"),
        path: pointer,
        detail: format!("expected: {full}"),
        reader: format!("`{}`", ours.full()),
        writer: format!("`{full}`"),
        remedy: format!("name it `{}` again, or add `{full}` to its aliases", theirs.short()),
    })]
}

fn sizes(path: &Path<'_>, reader: &Fixed, writer: &Fixed) -> Option<Incompatibility> {
    let (found, expected) = (reader.size, writer.size);
    if found == expected {
        return None;
    }
    let pointer = path.word("size").pointer();
    Some(difference(Rule {
        name: "FIXED_SIZE_MISMATCH",
        template: format!(
            "The size of FIXED type field at path '{pointer}' in the %s schema does not match with the %s schema"
        ),
        path: pointer,
        detail: format!("expected: {expected}, found: {found}"),
        reader: format!("{found} bytes"),
        writer: format!("{expected} bytes"),
        remedy: format!("set its size to {expected}, or give the new size a type and a field of its own"),
    }))
}

fn symbols(path: &Path<'_>, reader: &Enumeration, writer: &Enumeration) -> Option<Incompatibility> {
    let ours: BTreeSet<&str> = reader.symbols.iter().map(String::as_str).collect();
    let lacking: BTreeSet<&str> = writer.symbols.iter().map(String::as_str).collect();
    let lacking: Vec<&str> = lacking.difference(&ours).copied().collect();
    if lacking.is_empty() || reader.default.is_some() {
        return None;
    }
    let (pointer, detail) = (path.word("symbols").pointer(), format!("[{}]", lacking.join(", ")));
    Some(difference(Rule {
        name: "MISSING_ENUM_SYMBOLS",
        template: format!(
            "The %s schema is missing enum symbols '{detail}' at path '{pointer}' in the %s schema"
        ),
        path: pointer,
        reader: format!("symbols [{}]", reader.symbols.join(", ")),
        writer: format!("symbols [{}]", writer.symbols.join(", ")),
        remedy: format!("keep {detail}, or give the enum type a `default`"),
        detail,
    }))
}

fn missing_default(path: &Path<'_>, field: &Field, shape: &Shape) -> Incompatibility {
    let (pointer, name) = (path.pointer(), &field.name);
    difference(Rule {
        name: "READER_FIELD_MISSING_DEFAULT_VALUE",
        template: format!(
            "The field '{name}' at path '{pointer}' in the %s schema has no default value and is missing in the %s schema"
        ),
        path: pointer,
        detail: name.clone(),
        reader: format!("field `{name}` of type {} without a default", say(shape)),
        writer: format!("no field `{name}`"),
        remedy: format!("give `{name}` a default, or name the writer's field in its aliases"),
    })
}

fn mismatch(path: &Path<'_>, reader: &Shape, writer: &Shape) -> Incompatibility {
    let pointer = path.pointer();
    let (ours, theirs) = (reader.kind().to_uppercase(), writer.kind().to_uppercase());
    difference(Rule {
        name: "TYPE_MISMATCH",
        template: format!(
            "The type (path '{pointer}') of a field in the %s schema does not match with the %s schema"
        ),
        path: pointer,
        detail: format!("reader type: {ours} not compatible with writer type: {theirs}"),
        reader: say(reader),
        writer: say(writer),
        remedy: format!(
            "keep {}, make it a union of both, or put the new type into a field of its own",
            say(writer)
        ),
    })
}

/// Whether values of type `from` may be read as `to`.
const fn promotes(from: &Shape, to: &Shape) -> bool {
    matches!(
        (from, to),
        (Shape::Int, Shape::Int | Shape::Long | Shape::Float | Shape::Double)
            | (Shape::Long, Shape::Long | Shape::Float | Shape::Double)
            | (Shape::Float, Shape::Float | Shape::Double)
            | (Shape::Double, Shape::Double)
            | (Shape::String | Shape::Bytes, Shape::String | Shape::Bytes)
            | (Shape::Null, Shape::Null)
            | (Shape::Boolean, Shape::Boolean)
    )
}

/// A type in a few words.
fn say(shape: &Shape) -> String {
    let kind = shape.kind();
    shape.name().map(Name::full).map_or_else(|| format!("`{kind}`"), |name| format!("{kind} `{name}`"))
}
