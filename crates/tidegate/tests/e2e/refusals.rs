//! What keeps `tidegate up` from starting: each is said in one line, with what to do in the next.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use tempfile::TempDir;

use crate::process::{Process, Ran, text, tidegate};
use crate::stack::command;
use crate::world::engine_is_there;

#[track_caller]
fn refused(ran: &Ran, code: i32, error: &str, hint: &str) {
    assert_eq!(ran.code, Some(code), "{}", ran.stderr);
    assert_eq!(ran.stdout, "");
    let line = |start: &str| ran.stderr.lines().find(|line| line.starts_with(start)).unwrap_or_default();
    assert!(line("error: ").contains(error), "{}", ran.stderr);
    assert!(ran.stderr.contains(hint), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_from_a_newer_tidegate_is_left_alone() {
    let folder = TempDir::new().unwrap();
    let stamp = r#"{"format":99,"written_by":"9.9.9"}"#;
    std::fs::write(folder.path().join("tidegate.json"), stamp).unwrap();
    let ran = tidegate(command(folder.path(), None)).await;
    refused(&ran, 1, "has format 99 of Tidegate 9.9.9", "hint: use Tidegate 9.9.9 or newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_from_a_newer_clickhouse_is_left_alone() {
    if !engine_is_there() {
        return;
    }
    let folder = TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("clickhouse")).unwrap();
    std::fs::write(folder.path().join("clickhouse/release"), "99.1\n").unwrap();
    let ran = tidegate(command(folder.path(), None)).await;
    refused(&ran, 1, "written by ClickHouse 99.1 and this is 26.7", "use 99.1 or newer, or another folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_is_not_this_users_is_refused() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be somebody else");
        return;
    }
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let data = folder.path().join("data");
    let program = folder.path().join("tidegate");
    std::fs::copy(env!("CARGO_BIN_EXE_tidegate"), &program).unwrap();
    // As the user `nobody` of most systems, who may read the program where it lies now.
    let output = std::process::Command::new(&program).args(command(&data, None)).uid(65534).output().unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = Ran { code: output.status.code(), stdout: said(&output.stdout), stderr: said(&output.stderr) };
    refused(&ran, 1, "cannot be used: Permission denied", "hint: make it writable for this user");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_refused() {
    let folder = TempDir::new().unwrap();
    let Some(_mounted) = SmallDisk::mount(folder.path(), "1m") else { return };
    let ran = tidegate(command(&folder.path().join("data"), None)).await;
    refused(&ran, 1, "MiB left, and 64 are needed to start", "hint: free some space");
}

/// A disk of its own.
pub struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` where that cannot be; the test says so and ends.
    pub fn mount(at: &'a Path, size: &str) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(at);
        if mount.output().is_ok_and(|output| output.status.success()) {
            return Some(Self(at));
        }
        eprintln!("skipped: a disk of its own cannot be mounted here");
        None
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily: a test that fails has processes there still.
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clickhouse_that_is_not_there_is_named() {
    let folder = TempDir::new().unwrap();
    let mut args = command(folder.path(), None);
    args.extend(["--clickhouse", "/nowhere/clickhouse"]);
    refused(&tidegate(args).await, 1, "engine `/nowhere/clickhouse`", "is not a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_no_clickhouse_is_refused() {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("clickhouse");
    std::fs::copy("/bin/true", &program).unwrap();
    let data = folder.path().join("data");
    let mut args = command(&data, None);
    args.extend(["--clickhouse", text(&program)]);
    let ran = tidegate(args).await;
    refused(&ran, 1, "start the embedded clickhouse", "told no release but nothing");
    assert!(ran.stderr.contains("26.7 or newer"), "{}", ran.stderr);
}

/// A server that answers each statement as ClickHouse 18.16 does.
fn old_clickhouse() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = Vec::new();
            let mut bytes = [0; 4096];
            let answer = loop {
                let length = stream.read(&mut bytes).unwrap();
                request.extend_from_slice(&bytes[..length]);
                let asked = String::from_utf8_lossy(&request);
                match asked.contains("SELECT version()") {
                    true => break "18.16.1\n",
                    false if asked.contains("system.settings") || length == 0 => break "0\n",
                    false => {}
                }
            };
            let length = answer.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nX-ClickHouse-Query-Id: 1\r\nContent-Length: {length}\r\n\r\n"
            );
            stream.write_all((head + answer).as_bytes()).unwrap();
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_deduplication_tokens_is_refused() {
    let folder = TempDir::new().unwrap();
    let url = format!("http://me:sesame@{}", old_clickhouse());
    let mut args = command(folder.path(), None);
    args.extend(["--clickhouse", &url]);
    let ran = tidegate(args).await;
    refused(&ran, 1, "it is ClickHouse 18.16.1", "hint: use ClickHouse 22.2 or newer");
    assert!(!ran.stderr.contains("sesame"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_others_reach_needs_a_certificate_or_a_word() {
    let folder = TempDir::new().unwrap();
    let mut args = command(folder.path(), None);
    args.extend(["--listen", "0.0.0.0"]);
    refused(&tidegate(args).await, 2, "needs a certificate", "hint: give --tls-cert FILE and --tls-key FILE");
    assert!(!folder.path().join("lock").exists(), "nothing was touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_runs_is_nothing_to_ask() {
    let folder = TempDir::new().unwrap();
    let ran = Process::start(["status", "--data-dir", text(folder.path())]).ran().await;
    refused(&ran, 1, "nothing runs on data folder", "hint: tidegate up --data-dir");
}
