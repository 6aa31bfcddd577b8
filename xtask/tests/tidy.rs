//! The house style holds, and its checks find what they are for.

use std::fs;
use std::path::Path;

use xtask::{codegen, repository, tidy};

#[test]
fn the_repository_is_tidy() {
    let findings = tidy::findings(&repository()).expect("the repository can be read");
    let list: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "\n{}\n", list.join("\n"));
}

#[test]
fn generated_files_are_current() {
    for generated in codegen::files().expect("the generator runs") {
        let kept = fs::read_to_string(repository().join(generated.path)).unwrap_or_default();
        assert!(kept == generated.text, "{} is not current; run `cargo xtask codegen`", generated.path);
    }
}

#[track_caller]
fn check(path: &str, text: &str, expected: Option<(usize, &str)>) {
    let found = tidy::check(Path::new(path), text);
    match (found.as_slice(), expected) {
        ([], None) => {}
        ([(line, message)], Some((expected_line, part))) => {
            assert_eq!(*line, expected_line, "{message}");
            assert!(message.contains(part), "{message}");
        }
        (found, expected) => panic!("expected {expected:?}, found {found:?}"),
    }
}

#[test]
fn each_rule_finds_its_breach() {
    let lib = "crates/codec/src/lib.rs";
    check(lib, "pub struct RowBuilder;\n", None);
    check(lib, "\npub(crate) struct RowManager<T>(T);\n", Some((2, "RowManager")));
    check(lib, "trait RowHandler {}\n", Some((1, "RowHandler")));
    check(lib, "#[allow(dead_code)]\n", Some((1, "expect")));
    check(lib, "#[test]\nfn test_rows() {}\n", Some((2, "test_rows")));
    check(lib, "#[test]\nfn each_row_lands_once() {}\n", None);
    check(lib, "fn test_bit() {}\n", None);
    check("crates/codec/src/utils.rs", "", Some((1, "utils")));
    check("crates/codec/src/rows/mod.rs", "", Some((1, "foo.rs")));
    check("crates/codec/src/types.rs", "", Some((1, "types")));
    check("crates/native/src/types.rs", "", None);
    check(lib, &"\n".repeat(501), Some((501, "501 lines")));
    check(lib, &format!("#[cfg(test)]\n{}", "\n".repeat(600)), None);
    check("README.md", concat!("see /", "work/main\n"), Some((1, "one machine")));
    check("docs/x.md", concat!("TO", "DO later\n"), Some((1, "issue")));
    check("docs/x.md", concat!("TO", "DO(#12): later\n"), None);
    check("crates/core/Cargo.toml", "[dependencies]\ntidegate-kafka.workspace = true\n", Some((2, "kafka")));
}
