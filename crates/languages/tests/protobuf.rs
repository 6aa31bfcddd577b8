//! Protobuf: the stored text, references, descriptors, and the rules of comparison.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::{Duration, Instant};

use tidegate_languages::protobuf::ProtobufSchema;
use tidegate_languages::{Age, Referenced, Strictness};

fn parse(text: &str) -> ProtobufSchema {
    ProtobufSchema::parse(text, &[], Strictness::Fresh).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    ProtobufSchema::parse(text, &[], Strictness::Fresh).expect_err(text).to_string()
}

fn reference(name: &str, text: &str) -> Referenced {
    Referenced { name: name.to_owned(), text: text.to_owned() }
}

const EVERYTHING: &str = r#"// A comment that goes.
syntax = "proto3"; package a.b;
import public "google/protobuf/duration.proto";
import 'google/protobuf/timestamp.proto';
import "google/protobuf/descriptor.proto";
option java_package = "x.\"y\"";
option (file).part.deep = 0x10;
enum Color { option allow_alias = true; reserved 5, 7 to 9, "OLD"; RED = 0; ROT = 0 [deprecated = true]; }
message Order {
  message Line { string sku = 1 [json_name = "SKU", deprecated = true]; int32 n = 2; }
  map<string, Line> lines = 3; repeated .a.b.Order.Line more = 4 [packed = false];
  /* also gone */ optional Color color = 1; google.protobuf.Timestamp at = 2;
  oneof how { string cash = 5; Line card = 6; }
  reserved 100 to max; reserved "x", "y";
  enum Kind { NONE = 0; }
}
message Empty {}
message Options { int32 deep = 1; Options part = 2; repeated string names = 3; }
extend google.protobuf.FileOptions { Options file = 50001; }
extend google.protobuf.MessageOptions { Options note = 50002; }
message Noted { option (note) = { deep: 1 names: "a" names: "b" part { deep: -2 } }; }
service Shop { rpc Buy (Order) returns (stream Empty); rpc Ask (stream Empty) returns (Empty) { option deprecated = true; } }
"#;

#[test]
fn the_stored_text_is_that_of_the_java_registry() {
    let expected = r#"syntax = "proto3";
package a.b;

import "google/protobuf/timestamp.proto";
import "google/protobuf/descriptor.proto";
import public "google/protobuf/duration.proto";

option java_package = "x.\"y\"";
option (file).part.deep = 0x10;

message Order {
  reserved 100 to max;
  reserved "x", "y";

  map<string, Line> lines = 3;
  repeated .a.b.Order.Line more = 4 [packed = false];
  optional Color color = 1;
  google.protobuf.Timestamp at = 2;

  oneof how {
    string cash = 5;
    Line card = 6;
  }

  message Line {
    string sku = 1 [
      deprecated = true,
      json_name = "SKU"
    ];
    int32 n = 2;
  }
  enum Kind {
    NONE = 0;
  }
}
message Empty {}
message Options {
  int32 deep = 1;
  Options part = 2;
  repeated string names = 3;
}
message Noted {
  option (note) = {
    deep: 1,
    names: [
      "a",
      "b"
    ],
    part: {
      deep: -2
    }
  };
}
enum Color {
  reserved 5, 7 to 9, "OLD";
  option allow_alias = true;
  RED = 0;
  ROT = 0 [deprecated = true];
}

extend google.protobuf.FileOptions {
  Options file = 50001;
}
extend google.protobuf.MessageOptions {
  Options note = 50002;
}

service Shop {
  rpc Buy (Order) returns (stream Empty);
  rpc Ask (stream Empty) returns (Empty) {
    option deprecated = true;
  };
}
"#;
    let schema = parse(EVERYTHING);
    assert_eq!(schema.canonical(), expected);
    assert_eq!(parse(expected).canonical(), expected, "what was printed is read as the same");
}

#[test]
fn an_empty_line_in_a_nested_message_has_the_blanks_of_its_depth() {
    let text =
        "message A {\n  message B {\n    reserved 1;\n\n    required int32 x = 2 [default = 7];\n  }\n}\n";
    let expected = "\nmessage A {\n  message B {\n    reserved 1;\n  \n    required int32 x = 2 [default = 7];\n  }\n}\n";
    assert_eq!(parse(text).canonical(), expected);
}

#[test]
fn the_normal_form_has_full_names_and_one_order() {
    let text = r#"syntax = "proto3";
package p;
import "google/protobuf/timestamp.proto";
message B { string z = 2; A a = 1; map<string, A> m = 4; oneof o { int32 c = 9; int32 d = 8; } reserved 30 to 30, "q", 20;
  google.protobuf.Timestamp at = 3; }
message A { enum E { ONE = 1; ZERO = 0; } E e = 1; }
"#;
    let expected = r#"syntax = "proto3";
package p;

import "google/protobuf/timestamp.proto";

message B {
  reserved 20;
  reserved 30;
  reserved "q";

  .p.A a = 1;
  string z = 2;
  .google.protobuf.Timestamp at = 3;
  map<string, .p.A> m = 4;

  oneof o {
    int32 d = 8;
    int32 c = 9;
  }
}
message A {
  .p.A.E e = 1;

  enum E {
    ZERO = 0;
    ONE = 1;
  }
}
"#;
    let schema = ProtobufSchema::parse(text, &[], Strictness::Stored).unwrap();
    assert_eq!(schema.normalized(), expected);
}

#[test]
fn a_descriptor_is_registered_as_the_text_that_it_says() {
    let text = "syntax = \"proto3\";\npackage p;\n\nimport \"google/protobuf/timestamp.proto\";\n\noption java_package = \"j\";\n\n\
                message A {\n  map<string, int32> m = 1;\n  optional A next = 2;\n  .google.protobuf.Timestamp at = 3;\n}\n";
    let schema = parse(text);
    let base64 = schema.formatted("serialized").unwrap().unwrap();
    let again = ProtobufSchema::parse(&base64, &[], Strictness::Fresh).unwrap();
    // Descriptors of compilers have no names for JSON that nobody gave.
    let text = again.canonical();
    let text = ["m", "next", "at", "key", "value"]
        .iter()
        .fold(text, |text, name| text.replace(&format!(" [json_name = \"{name}\"]"), ""));
    let expected = "syntax = \"proto3\";\npackage p;\n\nimport \"google/protobuf/timestamp.proto\";\n\noption java_package = \"j\";\n\n\
                    message A {\n  repeated .p.A.MEntry m = 1;\n  optional .p.A next = 2;\n  .google.protobuf.Timestamp at = 3;\n\n  \
                    message MEntry {\n    option map_entry = true;\n  \n    string key = 1;\n    int32 value = 2;\n  }\n}\n";
    assert_eq!(text, expected);
    assert!(again.normalized().contains("\n  map<string, int32> m = 1"), "{}", again.normalized());
    assert_eq!(again.formatted("serialized").unwrap().unwrap(), base64);
    assert_eq!(schema.reads(&again).unwrap(), []);
    assert_eq!(again.reads(&schema).unwrap(), []);
    assert!(schema.formatted("resolved").is_none());
}

#[test]
fn custom_options_survive_a_descriptor() {
    let schema = parse(EVERYTHING);
    let base64 = schema.formatted("serialized").unwrap().unwrap();
    let again = ProtobufSchema::parse(&base64, &[], Strictness::Fresh).unwrap().canonical();
    assert!(again.contains("option (a.b.file) = {\n  part: {\n    deep: 16\n  }\n};"), "{again}");
    assert!(again.contains("names: [\n      \"a\",\n      \"b\"\n    ]"), "{again}");
    let without = schema.formatted("ignore_extensions").unwrap().unwrap();
    assert!(!without.contains("extend") && !without.contains("(note)"), "{without}");
}

#[test]
fn an_edition_is_read_and_described_by_what_has_its_bytes() {
    let text = "edition = \"2023\";\n\nmessage A {\n  int32 n = 1 [features.field_presence = LEGACY_REQUIRED];\n  \
                repeated int32 all = 2;\n  string s = 3 [default = \"x\"];\n}\n";
    let schema = parse(text);
    assert_eq!(schema.canonical(), text);
    let base64 = schema.formatted("serialized").unwrap().unwrap();
    let described = ProtobufSchema::parse(&base64, &[], Strictness::Fresh).unwrap().canonical();
    assert!(described.contains("required int32 n = 1"), "{described}");
    assert!(described.contains("packed = true"), "{described}");
}

#[test]
fn references_are_imports_and_circles_are_refused() {
    let a = reference("a.proto", "syntax = \"proto3\"; import \"b.proto\"; message A { B b = 1; }");
    let b = reference("b.proto", "syntax = \"proto3\"; message B { int32 n = 1; }");
    let text = "syntax = \"proto3\"; import \"a.proto\"; message M { A a = 1; }";
    let parsed = ProtobufSchema::parse(text, &[b.clone(), a.clone()], Strictness::Fresh).unwrap();
    assert!(parsed.descriptor().unwrap().len() > 20);
    let missing = ProtobufSchema::parse(text, std::slice::from_ref(&a), Strictness::Fresh).unwrap_err();
    assert_eq!(missing.to_string(), "import \"b.proto\" leads nowhere; name the schema in `references`");
    ProtobufSchema::parse(text, std::slice::from_ref(&a), Strictness::Stored).unwrap();
    let circular = reference("b.proto", "syntax = \"proto3\"; import \"a.proto\"; message B { A a = 1; }");
    let refused = ProtobufSchema::parse(text, &[a.clone(), circular], Strictness::Fresh).unwrap_err();
    assert_eq!(refused.to_string(), "imports go in a circle: a.proto -> b.proto -> a.proto");
    let broken = reference("a.proto", "message A {");
    let refused = ProtobufSchema::parse(text, &[broken], Strictness::Fresh).unwrap_err().to_string();
    assert_eq!(refused, "in `a.proto`: line 1, column 12: unexpected end of file");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let cases = [
        ("syntax = \"proto3\";\nmessage A {\n  int32 x 1;\n}", "line 3, column 11: expected `=`, found `1`"),
        ("message A { int32 x = 1; }", "line 1, column 13: expected `optional`, `required` or `repeated`"),
        ("syntax = \"proto4\";", "`proto4` is unknown"),
        ("syntax = \"proto3\"; message A { Missing m = 1; }", "name 'Missing' is not defined"),
        ("syntax = \"proto3\"; message A { int32 a = 1; int32 b = 1; }", "number"),
        ("syntax = \"proto3\"; message A {} message A {}", "`A` is defined twice"),
        ("syntax = \"proto3\"; message A { required int32 a = 1; }", "`required` is for proto2 only"),
        ("syntax = \"proto3\"; enum E { A = 1; }", "the first value for proto3 enums must be 0"),
        ("message A { /* ", "comment without an end"),
        ("option x = \"", "text without a closing quote"),
        ("AAAA", "Base64"),
    ];
    for (text, expected) in cases {
        let told = refused(text);
        assert!(told.contains(expected), "{text}: {told}");
    }
}

/// The rules that a message's new body breaks for its old one.
#[track_caller]
fn breaks(old: &str, new: &str, expected: &[(&str, &str)]) {
    let file = |body: &str| {
        parse(&format!(
            "syntax = \"proto3\"; enum E {{ Z = 0; }} message N {{ int32 a = 1; }} message M {{ {body} }}"
        ))
    };
    let found = file(new).reads(&file(old)).unwrap();
    let found: Vec<(&str, &str)> = found.iter().map(|one| (one.rule, one.path.as_str())).collect();
    assert_eq!(found, expected, "{old} -> {new}");
}

#[test]
fn each_rule_of_comparison_holds() {
    breaks("", "int32 x = 1;", &[]);
    breaks("int32 x = 1;", "", &[]);
    breaks("int32 x = 1;", "bool y = 1;", &[]);
    breaks("int32 x = 1;", "E x = 1;", &[]);
    breaks("sint32 x = 1;", "sint64 x = 1;", &[]);
    breaks("string x = 1;", "bytes x = 1;", &[]);
    breaks("string x = 1;", "repeated string x = 1;", &[]);
    breaks("int32 x = 1;", "sint32 x = 1;", &[("FIELD_SCALAR_KIND_CHANGED", "#/M/1")]);
    breaks("float x = 1;", "double x = 1;", &[("FIELD_SCALAR_KIND_CHANGED", "#/M/1")]);
    breaks("fixed32 x = 1;", "fixed64 x = 1;", &[("FIELD_SCALAR_KIND_CHANGED", "#/M/1")]);
    breaks("int32 x = 1;", "N x = 1;", &[("FIELD_KIND_CHANGED", "#/M/1")]);
    breaks("N x = 1;", "map<string, string> x = 1;", &[("FIELD_KIND_CHANGED", "#/M/1")]);
    breaks(
        "map<string, int32> x = 1;",
        "map<string, float> x = 1;",
        &[("FIELD_SCALAR_KIND_CHANGED", "#/M/1")],
    );
    breaks(
        "map<string, int32> x = 1;",
        "map<int32, int32> x = 1;",
        &[("FIELD_SCALAR_KIND_CHANGED", "#/M/1")],
    );
    breaks("repeated int32 x = 1;", "optional int32 x = 1;", &[("FIELD_NUMERIC_LABEL_CHANGED", "#/M/1")]);
    breaks("int32 x = 1;", "repeated int32 x = 1;", &[("FIELD_NUMERIC_LABEL_CHANGED", "#/M/1")]);
    breaks("int32 x = 1;", "optional int32 x = 1;", &[]);
    breaks("N x = 1;", "repeated N x = 1;", &[]);
    breaks("N x = 1;", "M x = 1;", &[("FIELD_NAMED_TYPE_CHANGED", "#/M/1")]);
}

#[test]
fn scalars_are_read_as_each_other_within_their_group_only() {
    let groups: [&[&str]; 7] = [
        &["int32", "int64", "uint32", "uint64", "bool", "E"],
        &["sint32", "sint64"],
        &["string", "bytes"],
        &["fixed32", "sfixed32"],
        &["fixed64", "sfixed64"],
        &["float"],
        &["double"],
    ];
    let changed: &[(&str, &str)] = &[("FIELD_SCALAR_KIND_CHANGED", "#/M/1")];
    let all = || groups.iter().enumerate().flat_map(|(at, group)| group.iter().map(move |name| (at, name)));
    for ((old_group, old), (new_group, new)) in all().flat_map(|old| all().map(move |new| (old, new))) {
        let expected = if old_group == new_group { &[] } else { changed };
        breaks(&format!("{old} x = 1;"), &format!("{new} x = 1;"), expected);
    }
}

#[test]
fn names_that_lead_nowhere_are_compared_as_names() {
    let stored = |body: &str| {
        let text = format!("syntax = \"proto3\"; message N {{}} message M {{ {body} x = 1; }}");
        ProtobufSchema::parse(&text, &[], Strictness::Stored).unwrap()
    };
    let rules = |old: &str, new: &str| -> Vec<&str> {
        stored(new).reads(&stored(old)).unwrap().iter().map(|one| one.rule).collect()
    };
    assert_eq!(rules("Gone", "Gone"), Vec::<&str>::new());
    for (old, new) in [("Gone", "Lost"), ("Gone", "N"), ("N", "Gone")] {
        assert_eq!(rules(old, new), ["FIELD_NAMED_TYPE_CHANGED"], "{old} -> {new}");
    }
}

#[test]
fn each_rule_of_oneofs_holds() {
    breaks("int32 x = 1;", "oneof o { int32 x = 1; }", &[]);
    breaks("int32 x = 1;", "oneof o { int32 x = 1; int32 y = 2; }", &[]);
    breaks("oneof o { int32 x = 1; }", "int32 x = 1;", &[]);
    breaks("oneof o { int32 x = 1; }", "oneof p { int32 x = 1; }", &[]);
    breaks("oneof o { int32 x = 1; }", "", &[]);
    breaks("oneof o { int32 x = 1; }", "oneof o { int32 x = 1; int32 y = 2; }", &[]);
    let removed = [("ONEOF_FIELD_REMOVED", "#/M/o/2")];
    breaks("oneof o { int32 x = 1; int32 y = 2; }", "oneof o { int32 x = 1; }", &removed);
    breaks("oneof o { int32 x = 1; int32 y = 2; }", "int32 x = 1;", &removed);
    // A oneof that stays is not gone, whatever is in it.
    breaks("oneof o { int32 x = 1; }", "oneof o { int32 y = 2; }", &[("ONEOF_FIELD_REMOVED", "#/M/o/1")]);
    let several = [("MULTIPLE_FIELDS_MOVED_TO_ONEOF", "#/M/o")];
    breaks("int32 x = 1; int32 y = 2;", "oneof o { int32 x = 1; int32 y = 2; }", &several);
    let moved = [("FIELD_MOVED_TO_EXISTING_ONEOF", "#/M/o")];
    breaks("oneof o { int32 x = 1; } int32 y = 2;", "oneof o { int32 x = 1; int32 y = 2; }", &moved);
    let changed = [("FIELD_SCALAR_KIND_CHANGED", "#/M/o/1")];
    breaks("oneof o { int32 x = 1; }", "oneof o { string x = 1; }", &changed);
}

#[test]
fn messages_packages_and_required_fields_have_their_rules() {
    let check = |old: &str, new: &str, expected: &[(&str, &str)]| {
        let found = parse(new).reads(&parse(old)).unwrap();
        let found: Vec<(&str, &str)> = found.iter().map(|one| (one.rule, one.path.as_str())).collect();
        assert_eq!(found, expected, "{old} -> {new}");
    };
    check("message A {} message B {}", "message B {} message A {}", &[]);
    check("message A {} message B {}", "message A {}", &[("MESSAGE_REMOVED", "#/B")]);
    check("message A { message I {} }", "message A {}", &[("MESSAGE_REMOVED", "#/A/I")]);
    check("enum E { Z = 0; }", "enum F { Y = 0; }", &[]);
    check("package p; message A {}", "package q; message A {}", &[("PACKAGE_CHANGED", "#/")]);
    check("message A {}", "message A { required int32 x = 1; }", &[("REQUIRED_FIELD_ADDED", "#/A/1")]);
    check("message A { required int32 x = 1; }", "message A {}", &[("REQUIRED_FIELD_REMOVED", "#/A/1")]);
    check(
        "message A { optional string x = 1; }",
        "message A { required string x = 1; }",
        &[("REQUIRED_FIELD_ADDED", "#/A/1")],
    );
    check(
        "message A { optional A x = 1; }",
        "message A { required A x = 1; }",
        &[("REQUIRED_FIELD_ADDED", "#/A/1")],
    );
    // What is broken at one place is broken wherever it is used.
    check(
        "message A { optional B b = 1; } message B { optional C c = 1; } message C { optional int32 n = 1; }",
        "message A { optional B b = 1; } message B { optional C c = 1; } message C { optional string n = 1; }",
        &[
            ("FIELD_SCALAR_KIND_CHANGED", "#/C/1"),
            ("FIELD_NAMED_TYPE_CHANGED", "#/A/1"),
            ("FIELD_NAMED_TYPE_CHANGED", "#/B/1"),
        ],
    );
}

#[test]
fn imported_types_are_compared_by_what_they_hold() {
    let with = |body: &str| {
        let imported =
            reference("t.proto", &format!("syntax = \"proto3\"; package t; message T {{ {body} }}"));
        let text = "syntax = \"proto3\"; import \"t.proto\"; message M { t.T t = 1; }";
        ProtobufSchema::parse(text, &[imported], Strictness::Fresh).unwrap()
    };
    assert_eq!(with("int32 a = 1; int32 b = 2;").reads(&with("int32 a = 1;")).unwrap(), []);
    let rules: Vec<_> =
        with("string a = 1;").reads(&with("int32 a = 1;")).unwrap().iter().map(|one| one.rule).collect();
    assert_eq!(rules, ["FIELD_SCALAR_KIND_CHANGED", "FIELD_NAMED_TYPE_CHANGED"]);
}

#[test]
fn an_incompatibility_names_rule_path_both_sides_and_remedy() {
    let (old, new) = (
        "syntax = \"proto3\"; message M { int32 x = 1; }",
        "syntax = \"proto3\"; message M { string x = 1; }",
    );
    let found = &parse(new).reads(&parse(old)).unwrap()[0];
    assert_eq!(
        (found.reader.as_str(), found.writer.as_str()),
        ("field `string x = 1`", "field `int32 x = 1`")
    );
    assert_eq!(
        found.confluent_message(Age::New),
        "{errorType:\"FIELD_SCALAR_KIND_CHANGED\", description:\"The kind of a SCALAR field at path '#/M/1' in the new \
         schema does not match its kind in the old schema\"}"
    );
    assert!(found.explanation().contains("add a field with a number of its own"), "{}", found.explanation());
}

#[test]
fn hostile_texts_end_soon() {
    let nested = format!("syntax = \"proto3\"; {}{}", "message M { ".repeat(10_000), "}".repeat(10_000));
    let aggregate = format!("option (x) = {}{};", "{ a: ".repeat(10_000), "}".repeat(10_000));
    let fields: String = (1..60_000).map(|n| format!("int32 f{n} = {n}; ")).collect();
    let wide = format!("syntax = \"proto3\"; message M {{ {fields} }}");
    let chain: String = (0..20_000).map(|n| format!("message M{n} {{ M{} m = 1; }} ", n + 1)).collect();
    let chain = format!("syntax = \"proto3\"; {chain} message M20000 {{}}");
    let long = format!("message {} {{}}", "a".repeat(1_000_000));
    let comment = format!("{} message A {{}}", "/**/".repeat(500_000));
    let quotes = format!("option java_package = {};", "\"\" ".repeat(500_000));
    let started = Instant::now();
    for (text, expected) in [
        (&nested, "nests deeper than 64"),
        (&aggregate, "nests deeper than 64"),
        (&wide, "more than 50000 declarations"),
        (&long, "longer than 512"),
    ] {
        assert!(refused(text).contains(expected), "{}", refused(text));
    }
    let schema = parse(&chain);
    assert_eq!(schema.reads(&parse(&chain)).unwrap(), []);
    parse(&comment);
    parse(&quotes);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
