//! Objects: members by prediction or by name, in any order, each once.

use std::hash::BuildHasher as _;

use foldhash::fast::FixedState;
use tidegate_core::ReasonCode;
use tidegate_native::{Column, MapColumn};
use tidegate_schema::{Rules, Types, Violation};

use crate::block::Memory;
use crate::find::find_member;
use crate::node::{ChoicePlan, Node, NodeId, ObjectPlan, Shape, Unknown, Writer};
use crate::reader::{RawString, Reader};
use crate::refusal::{Outcome, Refusal};
use crate::scalar::{Scalar, Token};
use crate::walk::Walk;

/// Seeded alike everywhere: hashes of a record's names are compared with each other only.
const NAMES: FixedState = FixedState::with_seed(0);

/// Which fields of an object have come, one bit a field: the first 64 here, the others in a block's memory,
/// where those of the objects around it stand too.
pub(crate) struct Seen {
    first: u64,
    /// Where this object's bits begin in the memory.
    base: usize,
    words: usize,
}

impl Seen {
    #[inline]
    pub(crate) fn new(memory: &mut Memory, n_fields: usize) -> Self {
        let (base, words) = (memory.seen.len(), n_fields.saturating_sub(1) / 64);
        if words > 0 {
            memory.seen.resize(base + words, 0);
        }
        Self { first: 0, base, words }
    }

    /// `false` if the field has come before.
    #[inline]
    pub(crate) fn insert(&mut self, memory: &mut Memory, at: usize) -> bool {
        let word = match at / 64 {
            0 => &mut self.first,
            word => &mut memory.seen[self.base + word - 1],
        };
        let (bit, before) = (1 << (at % 64), *word);
        *word |= bit;
        before & bit == 0
    }

    pub(crate) fn contains(&self, memory: &Memory, at: usize) -> bool {
        let word = match at / 64 {
            0 => self.first,
            word => memory.seen[self.base + word - 1],
        };
        word & (1 << (at % 64)) != 0
    }

    #[inline]
    pub(crate) fn forget(self, memory: &mut Memory) {
        if self.words > 0 {
            memory.seen.truncate(self.base);
        }
    }
}

enum Name<'a> {
    Known(usize),
    Unknown(RawString<'a>),
}

impl<'p> Walk<'p, '_> {
    /// An object's members, from its opening brace on.
    pub(crate) fn members(
        &mut self,
        plan: &'p ObjectPlan,
        rules: Option<&'p Rules>,
        columns: &mut [Column],
    ) -> Outcome {
        let mut seen = Seen::new(self.memory, plan.fields.len());
        let names_first = self.memory.names.len();
        let (mut after, mut count, mut n_seen) = (0, 0_u64, 0);
        self.reader.take(b'{');
        if !self.reader.take(b'}') {
            loop {
                match self.name(plan, &mut after)? {
                    Name::Known(at) => {
                        let field = &plan.fields[at];
                        if !seen.insert(self.memory, at) {
                            return Err(duplicate(&field.name));
                        }
                        n_seen += 1;
                        let read = if field.wanted || plan.unknown == Unknown::Keep {
                            self.member(plan, field, columns)
                        } else {
                            self.unwanted(plan, Some(field.node), &field.name)
                        };
                        read.map_err(|refusal| refusal.within(&field.name))?;
                    }
                    Name::Unknown(raw) => self.stranger(plan, raw)?,
                }
                count += 1;
                if !self.reader.another(b'}')? {
                    break;
                }
            }
        }
        if n_seen < plan.fields.len() {
            self.absent(plan, &seen, columns)?;
        }
        if let Some(objects) = rules.and_then(|rules| rules.objects.as_ref()) {
            let checked = objects.check_count(count);
            checked.map_err(|violation| Refusal::validate(*violation, &format!("{count} members")))?;
        }
        seen.forget(self.memory);
        check_distinct(self.memory, names_first)
    }

    /// Reads the object that is next by the node that its tag names. The tag may be its last member, so it
    /// is looked for before anything is read.
    pub(crate) fn choose(&mut self, plan: &'p ChoicePlan, columns: &mut [Column]) -> Outcome {
        let (start, name) = (self.reader.at(), plan.choice.property.as_str());
        let found = find_member(&mut self.reader, name);
        self.reader.rewind(start);
        let Some(raw) = found else {
            // Either it is not there, or the search has come upon what is no JSON.
            self.skip_strictly()?;
            return Err(Refusal::validate(*plan.choice.missing(), "nothing").within(name));
        };
        let mut reader = Reader::new(raw);
        let listed = match reader.string() {
            Ok(tag) => plan.nodes.get(tag.text(&mut self.memory.key)),
            Err(_) => None,
        };
        match listed {
            Some(id) => self.value(*id, columns),
            None => Err(Refusal::validate(*plan.choice.unlisted(), raw).within(name)),
        }
    }

    /// A member that goes somewhere. Within a collected object its name is on the path.
    #[inline]
    fn member(
        &mut self,
        plan: &ObjectPlan,
        field: &'p crate::node::Field,
        columns: &mut [Column],
    ) -> Outcome {
        let nested =
            plan.unknown == Unknown::Collect && matches!(self.plan.nodes[field.node.0].shape, Shape::Flatten);
        if !nested {
            return self.value(field.node, columns);
        }
        self.memory.collected.path.push(crate::compile::json_escaped(&field.name));
        self.value(field.node, columns)?;
        self.memory.collected.leave();
        Ok(())
    }

    /// The next member's name and the colon behind it. `after` is the place of the field before it, plus
    /// one.
    #[inline]
    fn name(&mut self, plan: &ObjectPlan, after: &mut usize) -> Outcome<Name<'p>> {
        let quote = self.reader.peek();
        let predicted = self.memory.next[plan.base + *after] as usize;
        if let Some(field) = plan.fields.get(predicted)
            && self.reader.take_name(&field.written)
        {
            *after = predicted + 1;
            return Ok(Name::Known(predicted));
        }
        self.found_name(plan, quote, after)
    }

    /// A name that is not the predicted one.
    #[inline(never)]
    fn found_name(&mut self, plan: &ObjectPlan, quote: u8, after: &mut usize) -> Outcome<Name<'p>> {
        if quote != b'"' {
            return Err(self.reader.unexpected("a member's name"));
        }
        let raw = self.reader.string()?;
        let known = plan.index.get(raw.text(&mut self.memory.key)).copied();
        self.reader.colon()?;
        Ok(match known {
            Some(at) => {
                self.memory.next[plan.base + *after] = at as u32;
                *after = at + 1;
                Name::Known(at)
            }
            None => Name::Unknown(raw),
        })
    }

    /// A member that neither the table nor the schema names.
    fn stranger(&mut self, plan: &'p ObjectPlan, raw: RawString<'p>) -> Outcome {
        if plan.unknown != Unknown::Drop {
            let hash = NAMES.hash_one(raw.text(&mut self.memory.key));
            self.memory.names.push(hash);
        }
        let result = match plan.additional {
            Some(id) if self.forbids(id) => {
                let violation = Violation::new("additionalProperties", "no field of this name");
                Err(Refusal::validate(*violation, "a value"))
            }
            additional => self.unwanted(plan, additional, raw.raw()),
        };
        result.map_err(|refusal| refusal.within(raw.text(&mut String::new())))
    }

    fn forbids(&self, id: NodeId) -> bool {
        self.plan.nodes[id.0].rules.as_ref().is_some_and(|rules| rules.types == Types::NONE)
    }

    /// A member without a column.
    fn unwanted(&mut self, plan: &'p ObjectPlan, check: Option<NodeId>, name: &str) -> Outcome {
        match plan.unknown {
            Unknown::Keep => match check {
                Some(id) => self.value(id, &mut []),
                None => self.skip_strictly(),
            },
            Unknown::Reject => {
                let expected = "a field that the table has a column for";
                Err(Refusal::encode(ReasonCode::ExtraField, "unknown_fields", expected, "a value"))
            }
            Unknown::Drop => {
                self.pass(check)?;
                self.memory.drop_field(|| format!("{}/{name}", plan.pointer));
                Ok(())
            }
            Unknown::Collect => {
                self.reader.peek();
                let start = self.reader.at();
                self.pass(check)?;
                let value = self.reader.since(start);
                self.memory.collected.member(name, value);
                Ok(())
            }
        }
    }

    fn pass(&mut self, check: Option<NodeId>) -> Outcome {
        match check {
            Some(id) => self.value(id, &mut []),
            None => self.skip(),
        }
    }

    /// The members that did not come.
    #[inline(never)]
    fn absent(&mut self, plan: &'p ObjectPlan, seen: &Seen, columns: &mut [Column]) -> Outcome {
        for (at, field) in plan.fields.iter().enumerate() {
            if seen.contains(self.memory, at) {
                continue;
            }
            if field.required {
                let violation = Violation::new("required", format!("a field `{}`", field.name));
                let refusal = Refusal::validate(*violation, "nothing").within(&field.name);
                return Err(match &self.plan.nodes[field.node.0].column {
                    Some(column) => refusal.in_column(column),
                    None => refusal,
                });
            }
            if field.wanted {
                self.fill(field.node, columns).map_err(|refusal| refusal.within(&field.name))?;
            }
        }
        Ok(())
    }

    /// An object into a Map.
    pub(crate) fn map(&mut self, node: &'p Node, writer: &'p Writer, map: &mut MapColumn) -> Outcome {
        let (Writer::Map { key, dictionary }, Some(item)) = (writer, node.item) else { return self.skip() };
        let names_first = self.memory.names.len();
        let mut count = 0;
        self.reader.take(b'{');
        let mut open = !self.reader.take(b'}');
        while open {
            self.reader.peek();
            let raw = self.reader.string()?;
            let name = raw.text(&mut self.memory.key);
            self.memory.names.push(NAMES.hash_one(name));
            put_key(key, *dictionary, name, &mut map.keys).map_err(|refusal| refusal.within(name))?;
            self.reader.colon()?;
            let value = self.value(item, std::slice::from_mut(&mut map.values));
            value.map_err(|refusal| refusal.within(raw.text(&mut String::new())))?;
            count += 1;
            open = self.reader.another(b'}')?;
        }
        check_distinct(self.memory, names_first)?;
        if let Some(objects) = node.rules.as_ref().and_then(|rules| rules.objects.as_ref()) {
            let checked = objects.check_count(count);
            checked.map_err(|violation| Refusal::validate(*violation, &format!("{count} members")))?;
        }
        map.end_row();
        Ok(())
    }

    /// Passes over a value, checking its grammar.
    pub(crate) fn skip(&mut self) -> Outcome {
        self.skip_value(false)
    }

    /// Passes over a value, checking its grammar and that no object in it names a member twice.
    pub(crate) fn skip_strictly(&mut self) -> Outcome {
        self.skip_value(true)
    }

    fn skip_value(&mut self, distinct: bool) -> Outcome {
        match self.reader.peek() {
            b'"' => self.reader.string().map(|_| ()),
            b'{' => {
                self.enter()?;
                self.skip_members(distinct)?;
                self.depth -= 1;
                Ok(())
            }
            b'[' => {
                self.enter()?;
                self.items(|walk, _| walk.skip_value(distinct))?;
                self.depth -= 1;
                Ok(())
            }
            b'0'..=b'9' | b'-' => self.reader.number().map(|_| ()),
            b't' => self.reader.literal("true"),
            b'f' => self.reader.literal("false"),
            b'n' => self.reader.literal("null"),
            _ => Err(self.reader.unexpected("a value")),
        }
    }

    /// Passes over an object's members.
    pub(crate) fn skip_members(&mut self, distinct: bool) -> Outcome {
        let names_first = self.memory.names.len();
        self.reader.take(b'{');
        let mut open = !self.reader.take(b'}');
        while open {
            if self.reader.peek() != b'"' {
                return Err(self.reader.unexpected("a member's name"));
            }
            let raw = self.reader.string()?;
            if distinct {
                self.memory.names.push(NAMES.hash_one(raw.text(&mut self.memory.key)));
            }
            self.reader.colon()?;
            self.skip_value(distinct).map_err(|refusal| refusal.within(raw.text(&mut String::new())))?;
            open = self.reader.another(b'}')?;
        }
        if distinct {
            check_distinct(self.memory, names_first)?;
        }
        Ok(())
    }
}

/// Whether no name stands twice among those since `names_first`, which are forgotten.
#[inline]
fn check_distinct(memory: &mut Memory, names_first: usize) -> Outcome {
    if repeated(memory, names_first) {
        return Err(Refusal::decode(
            ReasonCode::DuplicateField,
            "each member's name once",
            "an object that names a member twice",
        ));
    }
    Ok(())
}

/// Whether a name stands twice among those since `names_first`, which are forgotten.
#[inline]
pub(crate) fn repeated(memory: &mut Memory, names_first: usize) -> bool {
    /// Up to here comparing each with each is faster than sorting.
    const COMPARED_MAX: usize = 16;
    if memory.names.len() == names_first {
        return false;
    }
    let names = &mut memory.names[names_first..];
    let repeated = if names.len() <= COMPARED_MAX {
        names.iter().enumerate().any(|(at, name)| names[..at].contains(name))
    } else {
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    };
    memory.names.truncate(names_first);
    repeated
}

#[cold]
fn duplicate(name: &str) -> Box<Refusal> {
    Refusal::decode(ReasonCode::DuplicateField, "each member's name once", "the name again").within(name)
}

pub(crate) fn put_key(scalar: &Scalar, dictionary: bool, name: &str, column: &mut Column) -> Outcome {
    if let (true, Column::LowCardinality(values)) = (dictionary, &mut *column) {
        if scalar.text() && values.push_str(name) {
            return Ok(());
        }
        put_key(scalar, false, name, values.value_mut())?;
        values.end_value();
        return Ok(());
    }
    if scalar.numeric() {
        let number = Reader::new(name).number().ok().filter(|number| number.text.len() == name.len());
        return match number {
            Some(number) => scalar.write(Token::Number(number), column),
            None => Err(scalar.wrong_type(name)),
        };
    }
    scalar.write(Token::String(name), column)
}
