//! Whether messages of an old schema can be read with a new one, by the Confluent registry's rules.
//!
//! Types of one name are compared once, wherever they are mentioned; a field whose type turns out to be
//! incompatible is so too. Where Confluent's rules let a reader lose what was written, ours do not: see
//! [`label_breaks`].

mod verdict;

use std::collections::{HashMap, HashSet, VecDeque};

use crate::budget::{Budget, TooComplex};
use crate::incompatibility::Incompatibility;
use crate::protobuf::ProtobufSchema;
use crate::protobuf::names::{Definition, Named, Names, join};
use crate::protobuf::tree::{Field, FieldType, Label, Message, Type, messages};
use verdict::{Rule, Sides};

/// Everything that keeps `reader` from reading messages of `writer`.
///
/// # Errors
/// If that takes too long to find out.
pub(super) fn check(
    reader: &ProtobufSchema,
    writer: &ProtobufSchema,
) -> Result<Vec<Incompatibility>, TooComplex> {
    let budget = Budget::default();
    let (old, new) = (Names::of(writer), Names::of(reader));
    let mut check = Check::new(&old, &new, &budget);
    let package = |schema: &ProtobufSchema| schema.file.package.clone().unwrap_or_default();
    let (old_package, new_package) = (package(writer), package(reader));
    if old_package != new_package {
        let named = |package: &str| match package {
            "" => "no package".to_owned(),
            package => format!("package `{package}`"),
        };
        let sides = Sides { old: named(&old_package), new: named(&new_package) };
        check.found.push(Rule::PackageChanged.at("#/", sides));
    }
    let top = Level { path: "#".to_owned(), old: old_package, new: new_package };
    check.types(&top, &writer.file.types, &reader.file.types)?;
    check.run()?;
    check.spread();
    Ok(check.found)
}

/// Two messages of one name, by where they are.
type Pair = (*const Message, *const Message);

/// Where a comparison stands: the path that is shown, and the scopes that names start from.
#[derive(Clone)]
struct Level {
    path: String,
    old: String,
    new: String,
}

impl Level {
    fn inner(&self, name: &str) -> Self {
        Self { path: format!("{}/{name}", self.path), old: join(&self.old, name), new: join(&self.new, name) }
    }
}

struct Work<'a> {
    level: Level,
    old: &'a Message,
    new: &'a Message,
}

/// A field whose type is a pair of messages.
struct Use {
    by: Pair,
    of: Pair,
    path: String,
    sides: Sides,
}

struct Check<'a> {
    old: &'a Names<'a>,
    new: &'a Names<'a>,
    budget: &'a Budget,
    found: Vec<Incompatibility>,
    seen: HashSet<Pair>,
    queue: VecDeque<Work<'a>>,
    broken: Vec<Pair>,
    uses: Vec<Use>,
}

impl<'a> Check<'a> {
    fn new(old: &'a Names<'a>, new: &'a Names<'a>, budget: &'a Budget) -> Self {
        Self {
            old,
            new,
            budget,
            found: Vec::new(),
            seen: HashSet::new(),
            queue: VecDeque::new(),
            broken: Vec::new(),
            uses: Vec::new(),
        }
    }

    fn run(&mut self) -> Result<(), TooComplex> {
        while let Some(Work { level, old, new }) = self.queue.pop_front() {
            let before = self.found.len();
            let this = (std::ptr::from_ref(old), std::ptr::from_ref(new));
            self.message(&level, old, new)?;
            self.types(&level, &old.types, &new.types)?;
            if self.found.len() > before {
                self.broken.push(this);
            }
        }
        Ok(())
    }

    /// Fields of broken messages are broken, and so are the messages that have them.
    fn spread(&mut self) {
        let mut by_type: HashMap<Pair, Vec<usize>> = HashMap::new();
        for (index, one) in self.uses.iter().enumerate() {
            by_type.entry(one.of).or_default().push(index);
        }
        let mut known: HashSet<Pair> = self.broken.iter().copied().collect();
        let mut broken = VecDeque::from(std::mem::take(&mut self.broken));
        let mut fields = Vec::new();
        while let Some(one) = broken.pop_front() {
            for index in by_type.remove(&one).unwrap_or_default() {
                fields.push(index);
                let by = self.uses[index].by;
                if known.insert(by) {
                    broken.push_back(by);
                }
            }
        }
        fields.sort_unstable();
        for index in fields {
            let one = &self.uses[index];
            self.found.push(Rule::FieldNamedTypeChanged.at(&one.path, one.sides.clone()));
        }
    }

    fn enqueue(&mut self, level: Level, old: &'a Message, new: &'a Message) {
        if self.seen.insert((old, new)) {
            self.queue.push_back(Work { level, old, new });
        }
    }

    /// Types that are declared at one place.
    fn types(&mut self, level: &Level, old: &'a [Type], new: &'a [Type]) -> Result<(), TooComplex> {
        let by_name: HashMap<&str, &Message> =
            messages(new).map(|message| (message.name.as_str(), message)).collect();
        for message in messages(old) {
            self.budget.take(1 + level.path.len() / 64)?;
            let inner = level.inner(&message.name);
            match by_name.get(message.name.as_str()) {
                Some(same) => self.enqueue(inner, message, same),
                None if message.map_entry() => {}
                None => {
                    let old = format!("message `{}`", message.name);
                    let sides = Sides { old, new: format!("no message `{}`", message.name) };
                    self.found.push(Rule::MessageRemoved.at(&inner.path, sides));
                }
            }
        }
        Ok(())
    }

    fn message(&mut self, level: &Level, old: &'a Message, new: &'a Message) -> Result<(), TooComplex> {
        let (old_members, new_members) = (Members::of(old), Members::of(new));
        self.budget.take(old_members.fields.len() + new_members.fields.len())?;
        self.oneofs(level, &old_members, new);
        let gone = deleted_oneofs(old, new, &new_members);
        let mut numbers: Vec<i32> =
            old_members.fields.keys().chain(new_members.fields.keys()).copied().collect();
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let member = |members: &Members<'a>| members.fields.get(&number).copied();
            match (member(&old_members), member(&new_members)) {
                (Some(before), None) => self.removed(level, before, &gone),
                (None, Some(after)) => self.added(level, after),
                (Some(before), Some(after)) => {
                    let place = Place { level, path: after.path(level), by: (old, new) };
                    self.field(&place, before.field, after.field);
                }
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// Fields that were independent and are not any more.
    fn oneofs(&mut self, level: &Level, old: &Members<'a>, new: &'a Message) {
        for oneof in &new.oneofs {
            let mut origins = HashSet::new();
            let mut n_moved = 0;
            for field in &oneof.fields {
                match old.fields.get(&field.number) {
                    Some(Member { oneof: Some(before), .. }) => {
                        origins.insert(Ok(*before));
                    }
                    Some(Member { oneof: None, .. }) => {
                        origins.insert(Err(field.number));
                        n_moved += 1;
                    }
                    None => {}
                }
            }
            if origins.len() > 1 {
                let rule = if n_moved > 1 {
                    Rule::MultipleFieldsMovedToOneof
                } else {
                    Rule::FieldMovedToExistingOneof
                };
                let sides = Sides {
                    old: "fields that may be set together".to_owned(),
                    new: format!("oneof `{}`, of which one is set", oneof.name),
                };
                self.found.push(rule.at(&format!("{}/{}", level.path, oneof.name), sides));
            }
        }
    }

    fn removed(&mut self, level: &Level, before: Member<'a>, gone: &HashSet<&str>) {
        let rule = match before.oneof {
            Some(oneof) if gone.contains(oneof) => return,
            Some(_) => Rule::OneofFieldRemoved,
            None if before.field.label == Some(Label::Required) => Rule::RequiredFieldRemoved,
            None => return,
        };
        let sides = Sides { old: shown(before.field), new: "no such field".to_owned() };
        self.found.push(rule.at(&before.path(level), sides));
    }

    fn added(&mut self, level: &Level, after: Member<'a>) {
        if after.oneof.is_none() && after.field.label == Some(Label::Required) {
            let sides = Sides { old: "no such field".to_owned(), new: shown(after.field) };
            self.found.push(Rule::RequiredFieldAdded.at(&after.path(level), sides));
        }
    }

    fn field(&mut self, place: &Place<'_>, old: &'a Field, new: &'a Field) {
        let labels = Some((old.label, new.label));
        let fields = (old, new);
        let scopes = (place.level.old.as_str(), place.level.new.as_str());
        let kinds = (Kind::of(self.old, scopes.0, &old.kind), Kind::of(self.new, scopes.1, &new.kind));
        self.kinds(place, fields, labels, kinds);
    }

    fn kinds(
        &mut self,
        place: &Place<'_>,
        fields: (&'a Field, &'a Field),
        labels: Option<(Option<Label>, Option<Label>)>,
        kinds: (Kind<'a>, Kind<'a>),
    ) {
        let sides = || Sides { old: shown(fields.0), new: shown(fields.1) };
        let rule = match kinds {
            (Kind::Scalar(old), Kind::Scalar(new)) if old != new => Some(Rule::FieldScalarKindChanged),
            (Kind::Scalar(scalar), Kind::Scalar(_)) => {
                labels.and_then(|labels| label_breaks(scalar != Scalar::Text, labels))
            }
            (Kind::Message(old_name, old), Kind::Message(new_name, new)) => {
                let required = labels.and_then(|labels| label_breaks(false, labels));
                required.or_else(|| self.named(place, fields, (old_name, old), (new_name, new)))
            }
            (Kind::Unknown(old), Kind::Unknown(new)) => (old != new).then_some(Rule::FieldNamedTypeChanged),
            (Kind::Unknown(_), Kind::Message(..)) | (Kind::Message(..), Kind::Unknown(_)) => {
                Some(Rule::FieldNamedTypeChanged)
            }
            (Kind::Map(old), Kind::Map(new)) => {
                let key = (Kind::named(self.old, &old.0, &old.1), Kind::named(self.new, &new.0, &new.1));
                let value = (Kind::named(self.old, &old.0, &old.2), Kind::named(self.new, &new.0, &new.2));
                self.kinds(place, fields, None, key);
                self.kinds(place, fields, None, value);
                None
            }
            (
                Kind::Scalar(_) | Kind::Message(..) | Kind::Unknown(_) | Kind::Map(_),
                Kind::Scalar(_) | Kind::Message(..) | Kind::Unknown(_) | Kind::Map(_),
            ) => Some(Rule::FieldKindChanged),
        };
        if let Some(rule) = rule {
            self.found.push(rule.at(&place.path, sides()));
        }
    }

    /// Two messages by their names: of one name without the package, they are compared.
    fn named(
        &mut self,
        place: &Place<'_>,
        fields: (&'a Field, &'a Field),
        (old_name, old): (&'a str, Named<'a>),
        (new_name, new): (&'a str, Named<'a>),
    ) -> Option<Rule> {
        let (Definition::Message(old_message), Definition::Message(new_message)) =
            (old.definition, new.definition)
        else {
            return Some(Rule::FieldKindChanged);
        };
        let local = local_name(old_name, old.package);
        if local != local_name(new_name, new.package) {
            return Some(Rule::FieldNamedTypeChanged);
        }
        let of: Pair = (old_message, new_message);
        let level = Level {
            path: format!("#/{}", local.replace('.', "/")),
            old: old_name.to_owned(),
            new: new_name.to_owned(),
        };
        self.enqueue(level, old_message, new_message);
        let sides = Sides { old: shown(fields.0), new: shown(fields.1) };
        self.uses.push(Use { by: place.by, of, path: place.path.clone(), sides });
        None
    }
}

/// Where a field stands.
struct Place<'b> {
    level: &'b Level,
    path: String,
    by: Pair,
}

/// A field, and the oneof that it belongs to.
#[derive(Clone, Copy)]
struct Member<'a> {
    field: &'a Field,
    oneof: Option<&'a str>,
}

impl Member<'_> {
    fn path(&self, level: &Level) -> String {
        match self.oneof {
            Some(oneof) => format!("{}/{oneof}/{}", level.path, self.field.number),
            None => format!("{}/{}", level.path, self.field.number),
        }
    }
}

/// A message's fields by number.
struct Members<'a> {
    fields: HashMap<i32, Member<'a>>,
}

impl<'a> Members<'a> {
    fn of(message: &'a Message) -> Self {
        let plain = message.fields.iter().map(|field| Member { field, oneof: None });
        let inside = message
            .oneofs
            .iter()
            .flat_map(|oneof| oneof.fields.iter().map(|field| Member { field, oneof: Some(&oneof.name) }));
        Self { fields: plain.chain(inside).map(|member| (member.field.number, member)).collect() }
    }
}

/// The oneofs that went with all of their fields: nobody reads half of them.
fn deleted_oneofs<'a>(old: &'a Message, new: &Message, new_members: &Members<'_>) -> HashSet<&'a str> {
    let kept: HashSet<&str> = new.oneofs.iter().map(|oneof| oneof.name.as_str()).collect();
    let gone = old.oneofs.iter().filter(|oneof| {
        !kept.contains(oneof.name.as_str())
            && oneof.fields.iter().all(|field| !new_members.fields.contains_key(&field.number))
    });
    gone.map(|oneof| oneof.name.as_str()).collect()
}

fn local_name<'a>(full: &'a str, package: &str) -> &'a str {
    full.strip_prefix(package).and_then(|local| local.strip_prefix('.')).unwrap_or(full)
}

/// What a change of label breaks. No label is `optional`: the Confluent registry takes a field without
/// one for compatible with everything, and a reader of one number loses a packed list. It lets texts
/// become `required` too, which old messages may lack.
fn label_breaks(numeric: bool, (old, new): (Option<Label>, Option<Label>)) -> Option<Rule> {
    let (old, new) = (old.unwrap_or(Label::Optional), new.unwrap_or(Label::Optional));
    if old == new {
        None
    } else if numeric {
        Some(Rule::FieldNumericLabelChanged)
    } else if new == Label::Required {
        Some(Rule::RequiredFieldAdded)
    } else {
        None
    }
}

fn shown(field: &Field) -> String {
    let label = field.label.map_or_else(String::new, |label| format!("{} ", label.as_str()));
    format!("field `{label}{} {} = {}`", field.kind, field.name, field.number)
}

/// What decides how a value is written.
enum Kind<'a> {
    Scalar(Scalar),
    Message(&'a str, Named<'a>),
    /// A map: the scope of its names, its key and its value.
    Map((String, String, String)),
    /// A name that leads nowhere.
    Unknown(String),
}

/// Scalars that can be read as each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scalar {
    General,
    Signed,
    Text,
    Fixed32,
    Fixed64,
    Float,
    Double,
}

impl<'a> Kind<'a> {
    fn of(names: &'a Names<'a>, scope: &str, kind: &'a FieldType) -> Self {
        match kind {
            FieldType::Map { key, value } => Self::Map((scope.to_owned(), key.clone(), value.clone())),
            FieldType::Named(name) => {
                Self::looked_up(names, scope, name).unwrap_or_else(|| Self::Unknown(name.clone()))
            }
        }
    }

    fn named(names: &'a Names<'a>, scope: &str, name: &str) -> Self {
        Self::looked_up(names, scope, name).unwrap_or_else(|| Self::Unknown(name.to_owned()))
    }

    fn looked_up(names: &'a Names<'a>, scope: &str, name: &str) -> Option<Self> {
        if let Some(scalar) = Scalar::of(name) {
            return Some(Self::Scalar(scalar));
        }
        let (full, named) = names.resolve(scope, name)?;
        Some(match named.definition {
            Definition::Enumeration => Self::Scalar(Scalar::General),
            Definition::Message(entry) if entry.map_entry() => {
                let of = |number: i32| {
                    let field = entry.fields.iter().find(|field| field.number == number);
                    field.map_or_else(String::new, |field| field.kind.to_string())
                };
                Self::Map((full.to_owned(), of(1), of(2)))
            }
            Definition::Message(_) => Self::Message(full, named),
        })
    }
}

impl Scalar {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "int32" | "int64" | "uint32" | "uint64" | "bool" => Self::General,
            "sint32" | "sint64" => Self::Signed,
            "string" | "bytes" => Self::Text,
            "fixed32" | "sfixed32" => Self::Fixed32,
            "fixed64" | "sfixed64" => Self::Fixed64,
            "float" => Self::Float,
            "double" => Self::Double,
            _ => return None,
        })
    }
}
