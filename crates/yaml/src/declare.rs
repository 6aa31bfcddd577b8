//! The macros that make a struct or enum, its reader and its JSON Schema out of one declaration.

/// A section of the file: the struct, its reader and its JSON Schema.
///
/// `key: Type;` is required (unless it is an `Option`), `key: Type = "text";` has a default, written as
/// it would be in the file, and `, "min".."max"` bounds the value, both included.
#[macro_export]
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        $visibility:vis struct $name:ident as $title:literal {
            $(
                $(#[doc = $field_doc:literal])*
                $field:ident: $type:ty $(= $default:literal)? $(, $min:literal..$max:literal)?;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq)]
        $visibility struct $name {
            $($(#[doc = $field_doc])* $visibility $field: $type,)*
        }

        impl $crate::shape::Shape for $name {
            fn read(
                node: &$crate::node::Node,
                cx: &mut $crate::reading::Reading<'_>,
            ) -> Option<Self> {
                let mut fields = $crate::shape::Fields::open(node, cx, $title)?;
                $(
                    let $field: Option<$type> =
                        $crate::shape::Shape::take(&mut fields, $crate::section!(@declared $field $([$field_doc])* ; $($default)?));
                    $(let $field = $crate::shape::within(&mut fields, $crate::section!(@key $field), $field, $min, $max);)?
                )*
                fields.close();
                Some(Self { $($field: $field?,)* })
            }

            fn schema(definitions: &mut $crate::shape::Definitions) -> serde_json::Value {
                definitions.define(stringify!($name), |definitions| {
                    let mut object = $crate::shape::ObjectSchema::default();
                    $(
                        <$type as $crate::shape::Shape>::describe(
                            $crate::section!(@declared $field $([$field_doc])* ; $($default)?),
                            &mut object,
                            definitions,
                        );
                        $($crate::shape::describe_bounds(
                            &mut object,
                            $crate::section!(@key $field),
                            $min,
                            $max,
                        );)?
                    )*
                    $crate::shape::object_schema(&[$($doc),*], object)
                })
            }
        }
    };
    (@declared $field:ident $([$doc:literal])* ; $default:literal) => {
        $crate::shape::Declared {
            key: $crate::section!(@key $field),
            doc: &[$($doc),*],
            default: Some($default),
        }
    };
    (@declared $field:ident $([$doc:literal])* ;) => {
        $crate::shape::Declared { key: $crate::section!(@key $field), doc: &[$($doc),*], default: None }
    };
    // Keys that are words of Rust too.
    (@key ty) => { "type" };
    (@key where_) => { "where" };
    (@key $field:ident) => { stringify!($field) };
}

/// One word of a closed list: the enum, its reader with suggestions and its JSON Schema.
#[macro_export]
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        pub enum $name:ident { $($(#[doc = $variant_doc:literal])* $variant:ident => $word:literal,)+ }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[doc = $variant_doc])* $variant,)+ }

        impl $name {
            /// Every choice.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word that the file uses.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::shape::Shape for $name {
            fn read(node: &$crate::node::Node, cx: &mut $crate::reading::Reading<'_>) -> Option<Self> {
                let words = &[$($word),+];
                let index = $crate::shape::choose(node, cx, words)?;
                Self::ALL.get(index).copied()
            }

            fn schema(definitions: &mut $crate::shape::Definitions) -> serde_json::Value {
                let words: Vec<serde_json::Value> = vec![$($crate::shape::default_json($word)),+];
                $crate::shape::or_variable(serde_json::json!({"enum": words}), definitions)
            }
        }
    };
}
