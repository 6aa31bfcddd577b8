//! Builds a plan's nodes out of the columns' paths and the schema's rules.

use hashbrown::HashMap;
use tidegate_native::Type;
use tidegate_schema::{JsonSchema, ObjectRules, Rules, RulesId};

use crate::node::{Absent, ChoicePlan, Field, Node, NodeId, ObjectPlan, Shape, Unknown, Writer};
use crate::open::rank;
use crate::options::{PlanOptions, UnknownFields};
use crate::plan::PlanError;
use crate::scalar::{Scalar, TimeReading};
use crate::usual::Usual;

/// A column that takes a field.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) place: usize,
    pub(crate) column: String,
    pub(crate) ty: Type,
    /// Whether `null` is a value of the table's column.
    pub(crate) accepts_null: bool,
    pub(crate) absent: Absent,
    pub(crate) reading: TimeReading,
    pub(crate) json_text: bool,
    /// It takes a member of each object of an array.
    pub(crate) nested: bool,
}

/// Columns by their paths.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) members: Vec<(String, Branch)>,
}

/// What a name stands for.
#[derive(Debug)]
pub(crate) enum Branch {
    /// A column.
    Leaf(Box<Leaf>),
    /// Members with columns of their own.
    Object(Tree),
    /// Members of the objects of an array, each an array column.
    Nested(Vec<(String, Leaf)>),
}

impl Branch {
    fn column(&self) -> String {
        match self {
            Self::Leaf(leaf) => leaf.column.clone(),
            Self::Object(tree) => tree.members.first().map(|(_, branch)| branch.column()).unwrap_or_default(),
            Self::Nested(parts) => parts.first().map(|(_, leaf)| leaf.column.clone()).unwrap_or_default(),
        }
    }
}

impl Tree {
    /// Adds a column.
    pub(crate) fn insert(&mut self, path: &[String], leaf: Leaf) -> Result<(), PlanError> {
        let (name, rest) = path.split_first().expect("paths have a name at least");
        let taken = |first: &Branch, leaf: &Leaf| PlanError::PathTaken {
            first: first.column(),
            second: leaf.column.clone(),
            path: path.iter().fold(String::new(), |path, name| format!("{path}/{name}")),
        };
        let known = self.members.iter_mut().find(|(known, _)| known == name).map(|(_, branch)| branch);
        match (known, rest) {
            (None, []) => self.members.push((name.clone(), Branch::Leaf(Box::new(leaf)))),
            (None, [part]) if leaf.nested => {
                self.members.push((name.clone(), Branch::Nested(vec![(part.clone(), leaf)])));
            }
            (None, rest) => {
                let mut tree = Self::default();
                tree.insert(rest, leaf)?;
                self.members.push((name.clone(), Branch::Object(tree)));
            }
            (Some(Branch::Object(tree)), [_, ..]) if !leaf.nested || rest.len() > 1 => {
                tree.insert(rest, leaf)?
            }
            (Some(Branch::Nested(parts)), [part])
                if leaf.nested && parts.iter().all(|(known, _)| known != part) =>
            {
                parts.push((part.clone(), leaf));
            }
            (Some(branch), _) => return Err(taken(branch, &leaf)),
        }
        Ok(())
    }
}

/// Builds nodes.
pub(crate) struct Builder<'s> {
    schema: Option<&'s JsonSchema>,
    unknown: Unknown,
    checks: HashMap<RulesId, NodeId>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) predictions: usize,
}

/// What a type's values need beside their writer.
#[derive(Default)]
struct Parts {
    check_first: bool,
    object: Option<Box<ObjectPlan>>,
    item: Option<NodeId>,
}

const SKIP: NodeId = NodeId(0);

const fn node(shape: Shape) -> Node {
    Node {
        rules: None,
        check_first: None,
        choice: None,
        shape,
        object: None,
        item: None,
        column: None,
        absent: Absent::Ignore,
        filled_by: None,
        once: false,
        usual: Usual::None,
    }
}

impl<'s> Builder<'s> {
    pub(crate) fn new(schema: Option<&'s JsonSchema>, options: &PlanOptions) -> Self {
        let unknown = match options.unknown_fields {
            UnknownFields::Reject => Unknown::Reject,
            UnknownFields::Drop => Unknown::Drop,
            UnknownFields::Collect { .. } => Unknown::Collect,
        };
        Self { schema, unknown, checks: HashMap::new(), nodes: vec![node(Shape::Skip)], predictions: 0 }
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    fn rules(&self, id: Option<RulesId>) -> Option<&'s Rules> {
        self.schema.zip(id).map(|(schema, id)| schema.rules(id)).filter(|rules| !rules.any())
    }

    /// The node of the whole value.
    pub(crate) fn root(&mut self, tree: &Tree) -> NodeId {
        let rules = self.schema.map(JsonSchema::root);
        self.flatten(tree, rules, "")
    }

    /// A node that checks a value and puts it nowhere.
    fn check(&mut self, id: Option<RulesId>) -> NodeId {
        let (Some(id), Some(rules)) = (id, self.rules(id)) else { return SKIP };
        if let Some(known) = self.checks.get(&id) {
            return *known;
        }
        let at = self.push(node(Shape::Skip));
        self.checks.insert(id, at);
        let (object, item) = self.inner_checks(rules);
        let choice = self.choice(rules, |builder, id| builder.check(Some(id)));
        self.nodes[at.0] =
            Node { rules: Some(Box::new(rules.clone())), choice, object, item, ..node(Shape::Skip) };
        at
    }

    /// A node for each alternative of a choice.
    fn choice(
        &mut self,
        rules: &Rules,
        mut build: impl FnMut(&mut Self, RulesId) -> NodeId,
    ) -> Option<Box<ChoicePlan>> {
        let choice = rules.choice.as_ref()?;
        let mut nodes = HashMap::default();
        for (values, id) in &choice.alternatives {
            let node = build(self, *id);
            nodes.extend(values.iter().map(|value| (value.as_str().into(), node)));
        }
        Some(Box::new(ChoicePlan { choice: choice.clone(), nodes }))
    }

    /// The node that checks a value beforehand, where alternatives would each need nodes of their own for
    /// the same columns: one in the other, those would multiply.
    fn check_choice(&mut self, id: Option<RulesId>) -> Option<NodeId> {
        self.rules(id).is_some_and(|rules| rules.choice.is_some()).then(|| self.check(id))
    }

    /// How members and items are checked of a value that goes somewhere as a whole, or nowhere.
    fn inner_checks(&mut self, rules: &Rules) -> (Option<Box<ObjectPlan>>, Option<NodeId>) {
        let object = rules.objects.as_ref().map(|objects| {
            let fields = self.schema_fields(objects, &|_| false);
            Box::new(self.object(fields, objects.additional, Unknown::Keep, ""))
        });
        let items = rules.arrays.as_ref().and_then(|arrays| arrays.items);
        (object, items.map(|items| self.check(Some(items))))
    }

    fn schema_fields(&mut self, objects: &ObjectRules, taken: &dyn Fn(&str) -> bool) -> Vec<Field> {
        let properties = objects.properties.iter().filter(|property| !taken(&property.name));
        properties
            .map(|property| Field::new(&property.name, self.check(property.rules), property.required, false))
            .collect()
    }

    fn object(
        &mut self,
        fields: Vec<Field>,
        additional: Option<RulesId>,
        unknown: Unknown,
        pointer: &str,
    ) -> ObjectPlan {
        let base = self.predictions;
        self.predictions += fields.len() + 1;
        let index = fields.iter().enumerate().map(|(at, field)| (field.name.clone(), at)).collect();
        let additional = additional.map(|rules| self.check(Some(rules)));
        ObjectPlan { base, pointer: pointer.to_owned(), fields, index, additional, unknown }
    }

    /// The plan of an object with these members, and with what the schema says of it.
    fn members<T>(
        &mut self,
        members: &[(String, T)],
        rules: Option<&Rules>,
        (unknown, pointer): (Unknown, &str),
        mut build: impl FnMut(&mut Self, usize, Option<RulesId>, &str) -> NodeId,
    ) -> Box<ObjectPlan> {
        let objects = rules.and_then(|rules| rules.objects.as_ref());
        let mut fields = Vec::new();
        for (at, (name, _)) in members.iter().enumerate() {
            let property = objects.and_then(|o| o.properties.iter().find(|property| property.name == *name));
            let rules =
                property.map_or(objects.and_then(|objects| objects.additional), |property| property.rules);
            let node = build(self, at, rules, &format!("{pointer}/{}", escape(name)));
            fields.push(Field::new(name, node, property.is_some_and(|property| property.required), true));
        }
        if let Some(objects) = objects {
            let taken = |name: &str| members.iter().any(|(known, _)| known == name);
            fields.extend(self.schema_fields(objects, &taken));
        }
        Box::new(self.object(fields, objects.and_then(|objects| objects.additional), unknown, pointer))
    }

    /// An object whose members go into columns.
    fn flatten(&mut self, tree: &Tree, id: Option<RulesId>, pointer: &str) -> NodeId {
        let rules = self.rules(id);
        let unknown = self.unknown;
        let object =
            self.members(&tree.members, rules, (unknown, pointer), |builder, at, rules, pointer| match &tree
                .members[at]
                .1
            {
                Branch::Leaf(leaf) => builder.leaf(leaf, rules, pointer, |writer| writer),
                Branch::Object(tree) => builder.flatten(tree, rules, pointer),
                Branch::Nested(parts) => builder.nested(parts, rules, pointer),
            });
        let (choice, check_first) = match rules {
            Some(rules) if pointer.is_empty() => {
                (self.choice(rules, |builder, id| builder.flatten(tree, Some(id), pointer)), None)
            }
            _ => (None, self.check_choice(id)),
        };
        let rules = boxed(rules).filter(|_| check_first.is_none());
        self.push(Node { rules, check_first, choice, object: Some(object), ..node(Shape::Flatten) })
    }

    fn leaf(
        &mut self,
        leaf: &Leaf,
        id: Option<RulesId>,
        pointer: &str,
        wrap: impl FnOnce(Writer) -> Writer + Copy,
    ) -> NodeId {
        let text = leaf.ty == Type::String || leaf.ty == Type::String.nullable();
        let at = if leaf.json_text && text {
            let rules = self.rules(id);
            let (object, item) = rules.map_or((None, None), |rules| self.inner_checks(rules));
            let writer = match leaf.ty {
                Type::Nullable(_) => Writer::Nullable { accepts: true, values: Box::new(Writer::JsonText) },
                _ => Writer::JsonText,
            };
            let shape = Shape::Column(leaf.place, writer);
            let check_first = self.check_choice(id);
            let rules = boxed(rules).filter(|_| check_first.is_none());
            self.push(Node { rules, check_first, object, item, ..node(shape) })
        } else {
            self.value(leaf.place, &leaf.ty, id, (&leaf.reading, pointer))
        };
        let literal = matches!(leaf.absent, Absent::Literal(_)) && self.rules(id).is_some();
        let filled_by = literal.then(|| self.leaf(leaf, None, pointer, wrap));
        let node = &mut self.nodes[at.0];
        node.filled_by = filled_by;
        if let Shape::Column(_, writer) = &mut node.shape {
            if let Writer::Nullable { accepts, .. } = writer {
                *accepts = leaf.accepts_null;
            }
            *writer = wrap(std::mem::replace(writer, Writer::Json));
        }
        node.column = Some(leaf.column.clone().into());
        node.absent = leaf.absent.clone();
        at
    }

    /// An array of objects whose members go into columns of arrays.
    fn nested(&mut self, parts: &[(String, Leaf)], id: Option<RulesId>, pointer: &str) -> NodeId {
        let rules = self.rules(id);
        let items = rules.and_then(|rules| rules.arrays.as_ref()).and_then(|arrays| arrays.items);
        let item_rules = self.rules(items);
        let unknown = self.unknown_within();
        let pointer = format!("{pointer}/*");
        let object = self.members(parts, item_rules, (unknown, &pointer), |builder, at, rules, pointer| {
            let leaf = &parts[at].1;
            let element = match &leaf.ty {
                Type::Array(element) => element.as_ref().clone(),
                other => other.clone(),
            };
            let absent = if element.accepts_null() { Absent::Null } else { Absent::Refuse };
            let leaf = Leaf {
                ty: element,
                absent,
                column: leaf.column.clone(),
                reading: leaf.reading.clone(),
                accepts_null: true,
                ..*leaf
            };
            builder.leaf(&leaf, rules, pointer, |writer| Writer::Element(Box::new(writer)))
        });
        let check_first = self.check_choice(items);
        let item_rules = boxed(item_rules).filter(|_| check_first.is_none());
        let item =
            self.push(Node { rules: item_rules, check_first, object: Some(object), ..node(Shape::Flatten) });
        let places = parts.iter().map(|(_, leaf)| leaf.place).collect();
        let empty =
            parts.iter().all(|(_, leaf)| matches!(&leaf.absent, Absent::Literal(text) if text == "[]"));
        let filled_by = (empty && rules.is_some()).then(|| self.nested(parts, None, &pointer));
        self.push(Node {
            rules: boxed(rules),
            filled_by,
            item: Some(item),
            column: parts.first().map(|(_, leaf)| leaf.column.clone().into()),
            absent: if empty { Absent::Literal("[]".to_owned()) } else { Absent::Refuse },
            ..node(Shape::Nested(places))
        })
    }

    /// Within a Tuple or an array there is no place to collect from.
    const fn unknown_within(&self) -> Unknown {
        match self.unknown {
            Unknown::Keep | Unknown::Reject | Unknown::Collect => Unknown::Reject,
            Unknown::Drop => Unknown::Drop,
        }
    }

    /// A value of a type, for the column at `place` of those at hand.
    fn value(
        &mut self,
        place: usize,
        ty: &Type,
        id: Option<RulesId>,
        (reading, pointer): (&TimeReading, &str),
    ) -> NodeId {
        let rules = self.rules(id);
        let mut parts = Parts::default();
        let writer = self.writer(ty, rules, (reading, pointer), &mut parts);
        parts.check_first |= rules.is_some_and(|rules| rules.choice.is_some());
        let check_first = parts.check_first.then(|| self.check(id));
        self.push(Node {
            rules: boxed(rules).filter(|_| check_first.is_none()),
            check_first,
            object: parts.object,
            item: parts.item,
            absent: if ty.accepts_null() { Absent::Null } else { Absent::Refuse },
            ..node(Shape::Column(place, writer))
        })
    }

    fn writer(
        &mut self,
        ty: &Type,
        rules: Option<&'s Rules>,
        (reading, pointer): (&TimeReading, &str),
        parts: &mut Parts,
    ) -> Writer {
        let ty = ty.stored();
        if let Some(scalar) = Scalar::new(ty, reading) {
            return Writer::Scalar(scalar);
        }
        match ty {
            Type::Nullable(inner) => {
                let values = Box::new(self.writer(inner, rules, (reading, pointer), parts));
                Writer::Nullable { accepts: true, values }
            }
            Type::LowCardinality(inner) => match inner.as_ref() {
                Type::Nullable(inner) => {
                    let values = Box::new(low_cardinality(inner, reading));
                    Writer::Nullable { accepts: true, values }
                }
                inner => low_cardinality(inner, reading),
            },
            Type::Array(element) => {
                let items = rules.and_then(|rules| rules.arrays.as_ref()).and_then(|arrays| arrays.items);
                parts.item = Some(self.value(0, element, items, (reading, &format!("{pointer}/*"))));
                Writer::Array
            }
            Type::Nested(elements) => {
                let tuple = elements.iter().map(|(name, ty)| tidegate_native::TupleElement {
                    name: Some(name.clone()),
                    ty: ty.clone(),
                });
                self.writer(&Type::Tuple(tuple.collect()).array(), rules, (reading, pointer), parts)
            }
            Type::Tuple(elements) => self.tuple(elements, rules, (reading, pointer), parts),
            Type::Map(key, value) => self.map((key, value), rules, (reading, pointer), parts),
            Type::Variant(types) => {
                parts.check_first = rules.is_some();
                let mut ranked: Vec<(u32, u8, &Type)> =
                    types.iter().zip(0..).map(|(ty, at)| (rank(ty), at, ty)).collect();
                ranked.sort_by_key(|(rank, at, _)| (*rank, *at));
                let nodes = ranked.into_iter().map(|(_, at, ty)| {
                    let id = self.value(0, ty, None, (reading, pointer));
                    if let Shape::Column(_, Writer::Scalar(scalar)) = &mut self.nodes[id.0].shape {
                        scalar.numbers_as_text = false;
                    }
                    (at, id)
                });
                Writer::Variant(nodes.collect())
            }
            Type::Dynamic { .. } => {
                parts.check_first = rules.is_some();
                Writer::Dynamic
            }
            _ => {
                (parts.object, parts.item) = rules.map_or((None, None), |rules| self.inner_checks(rules));
                Writer::Json
            }
        }
    }

    fn tuple(
        &mut self,
        elements: &[tidegate_native::TupleElement],
        rules: Option<&'s Rules>,
        (reading, pointer): (&TimeReading, &str),
        parts: &mut Parts,
    ) -> Writer {
        parts.check_first = rules.is_some_and(|rules| rules.arrays.is_some());
        let at_position = |builder: &mut Self, at: usize, rules| {
            builder.value(at, &elements[at].ty, rules, (reading, pointer))
        };
        let named: Vec<(String, usize)> = elements
            .iter()
            .enumerate()
            .filter_map(|(at, element)| Some((element.name.clone()?, at)))
            .collect();
        if named.len() == elements.len() {
            let rules = rules.filter(|_| !parts.check_first);
            let unknown = self.unknown_within();
            parts.object =
                Some(self.members(&named, rules, (unknown, pointer), |builder, at, rules, pointer| {
                    builder.value(at, &elements[at].ty, rules, (reading, pointer))
                }));
        }
        Writer::Tuple { positions: (0..elements.len()).map(|at| at_position(self, at, None)).collect() }
    }

    fn map(
        &mut self,
        (key, value): (&Type, &Type),
        rules: Option<&'s Rules>,
        (reading, pointer): (&TimeReading, &str),
        parts: &mut Parts,
    ) -> Writer {
        let objects = rules.and_then(|rules| rules.objects.as_ref());
        parts.check_first = objects.is_some_and(|objects| !objects.properties.is_empty());
        let additional = objects.and_then(|objects| objects.additional).filter(|_| !parts.check_first);
        parts.item = Some(self.value(0, value, additional, (reading, &format!("{pointer}/*"))));
        let (key, dictionary) = match key {
            Type::LowCardinality(key) => (key.as_ref(), true),
            key => (key, false),
        };
        match Scalar::new(key.stored(), reading) {
            Some(key) => Writer::Map { key, dictionary },
            // Keys of no scalar type; ClickHouse has none such.
            None => Writer::Json,
        }
    }
}

fn low_cardinality(ty: &Type, reading: &TimeReading) -> Writer {
    Scalar::new(ty.stored(), reading).map_or(Writer::Json, Writer::LowCardinality)
}

fn boxed(rules: Option<&Rules>) -> Option<Box<Rules>> {
    rules.map(|rules| Box::new(rules.clone()))
}

fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
