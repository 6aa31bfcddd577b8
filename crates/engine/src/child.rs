//! The engine's process: this program, started again by [`Engine`](crate::Engine), becomes ClickHouse.
//!
//! It comes with the hold pipe as descriptor 0 and the terminal as descriptor 1. The terminal must be
//! what ClickHouse sees as its input: a local server whose input is no terminal takes any exception that
//! escapes a connection's thread as a reason to abort, and one broken connection is such an exception.

use std::convert::Infallible;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::OpenOptions;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use libloading::Library;

use crate::confine::{self, Files};
use crate::folder::Parts;
use crate::release::{OLDEST, Release};

/// As the first argument of a program it says: become the engine.
pub const ENGINE_CHILD_ARG: &str = "tidegate-engine-child";

/// The exit code after the library or the binary could not be run (`EX_SOFTWARE`).
const EXIT_UNUSABLE: c_int = 70;
/// The exit code if this release must not run on this folder (`EX_DATAERR`).
pub(crate) const EXIT_WRONG_RELEASE: c_int = 65;

/// Why this process does not become the engine.
enum Refusal {
    Unusable(String),
    WrongRelease(String),
}

impl From<String> for Refusal {
    fn from(told: String) -> Self {
        Self::Unusable(told)
    }
}

/// Becomes the engine if the command line says so, wherever [`ENGINE_CHILD_ARG`] stands in it; returns
/// if it does not. The child's entry of a test binary.
pub fn run_child_if_asked() {
    let mut args = std::env::args().skip_while(|arg| arg != ENGINE_CHILD_ARG);
    if args.next().is_some() {
        run_child(args)
    }
}

/// Becomes the engine. To be called first thing in `main`, before there are other threads, with what
/// follows [`ENGINE_CHILD_ARG`] on the command line. The arguments are an agreement between one build of
/// this crate and itself.
pub fn run_child(args: impl IntoIterator<Item = String>) -> ! {
    let Err(refusal) = become_engine(args.into_iter().collect());
    let (told, code) = match refusal {
        Refusal::Unusable(told) => (format!("engine: {told}"), EXIT_UNUSABLE),
        Refusal::WrongRelease(told) => (told, EXIT_WRONG_RELEASE),
    };
    // The parent reads this from the log and quotes it.
    eprintln!("{told}");
    exit_at_once(code)
}

fn become_engine(args: Vec<String>) -> Result<Infallible, Refusal> {
    let [kind, path, listen, root, engine_args @ ..] = args.as_slice() else {
        return Err("the command line is not one that Tidegate makes".to_owned().into());
    };
    let (program, parts) = (Path::new(path), Parts::of(Path::new(root)));
    let hold = take_descriptors().map_err(|error| format!("descriptors: {error}"))?;
    if confine::possible() {
        let files = Files { own: &parts.own(), read: &[parts.config(), parts.release()], program };
        confine::confine(&files).map_err(|error| format!("confine the process: {error}"))?;
    }
    let last = parts.last_release().map_err(|error| format!("read the folder's release: {error}"))?;
    let may_open = |told: &str| {
        let ours = Release::find(told).ok_or_else(|| format!("`{told}` names no release of ClickHouse"))?;
        ours.may_open(last).map_err(Refusal::WrongRelease)
    };
    let mut engine_args = engine_args.to_vec();
    engine_args.extend(["--query".to_owned(), hold_query(listen == "http+tcp", hold.as_raw_fd())]);
    match kind.as_str() {
        "chdb" => {
            // Engine threads may still run when the call is back, and the library's destructors do not
            // expect them: everything is flushed and unlocked by now, so leave without them.
            run_library(program, &engine_args, may_open)?;
            exit_at_once(0)
        }
        "binary" => {
            may_open(&release_of(path)?)?;
            rustix::io::fcntl_setfd(&hold, rustix::io::FdFlags::empty())
                .map_err(|error| format!("descriptors: {error}"))?;
            let error = Command::new(path).arg("local").args(engine_args).exec();
            Err(format!("exec `{path}`: {error}").into())
        }
        other => Err(format!("`{other}` is no kind of engine").into()),
    }
}

/// What a `clickhouse` binary says of its release.
fn release_of(path: &str) -> Result<String, String> {
    let asked = Command::new(path).args(["local", "--version"]).output();
    let asked = asked.map_err(|error| format!("run `{path}`: {error}"))?;
    let told = String::from_utf8_lossy(&asked.stdout).into_owned();
    if Release::find(&told).is_some() {
        return Ok(told);
    }
    let complaint = String::from_utf8_lossy(&asked.stderr).into_owned();
    let complaint = told.lines().chain(complaint.lines()).find(|line| !line.trim().is_empty());
    let complaint = complaint.map_or_else(|| "nothing".to_owned(), |line| format!("`{}`", line.trim()));
    Err(format!(
        "`{path} local --version` told no release but {complaint} ({}); expected the `clickhouse` program of \
         ClickHouse, {OLDEST} or newer",
        asked.status
    ))
}

/// Moves the hold pipe from descriptor 0 to a new one, the terminal from 1 to 0, and /dev/null to 1.
fn take_descriptors() -> io::Result<OwnedFd> {
    let hold = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(rustix::stdio::stdout())?;
    rustix::stdio::dup2_stdout(OpenOptions::new().write(true).open("/dev/null")?)?;
    Ok(hold)
}

/// Listens, then waits in a query that reads the hold pipe; its end ends the session and so the server.
fn hold_query(tcp: bool, hold: c_int) -> String {
    let tcp = if tcp { "SYSTEM START LISTEN TCP; " } else { "" };
    format!(
        "SYSTEM START LISTEN HTTP; {tcp}SELECT * FROM file('/dev/fd/{hold}', LineAsString, 'l String') \
         FORMAT Null SETTINGS storage_file_read_method='read', max_threads=1, max_execution_time=0"
    )
}

type QueryCmdline = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;
type Version = unsafe extern "C" fn() -> *const c_char;
type ResultError = unsafe extern "C" fn(*mut c_void) -> *const c_char;

/// `clickhouse local` out of the library; back when the server has stopped. Some failures to start are
/// only printed by the library and look like success here, which is why the parent trusts no exit code
/// before the engine has answered it.
#[expect(unsafe_code, reason = "the engine's interface is a C library loaded at run time")]
fn run_library(
    path: &Path,
    args: &[String],
    may_open: impl FnOnce(&str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    // The library must stay loaded: its threads outlive every call, and unloading it crashes the exit.
    // SAFETY: libchdb.so's constructors ask nothing of the process but that no engine runs in it yet.
    let library = unsafe { Library::new(path) }.map_err(|error| chain(&error))?;
    let library = ManuallyDrop::new(library);
    let symbol = |name: &str, error| format!("`{}` has no `{name}`: {}", path.display(), chain(&error));
    // SAFETY: the type is that of the library's documented C declaration, in the pinned version.
    let query_cmdline = unsafe { library.get::<QueryCmdline>("chdb_query_cmdline") }
        .map_err(|error| symbol("chdb_query_cmdline", error))?;
    // SAFETY: as above.
    let result_error = unsafe { library.get::<ResultError>("chdb_result_error") }
        .map_err(|error| symbol("chdb_result_error", error))?;
    // SAFETY: as above.
    let version =
        unsafe { library.get::<Version>("chdb_version") }.map_err(|error| symbol("chdb_version", error))?;
    // SAFETY: it takes nothing and gives a C string that is part of the library.
    let version = unsafe { CStr::from_ptr(version()) };
    may_open(&version.to_string_lossy())?;
    let words: Vec<CString> = std::iter::once("clickhouse")
        .chain(args.iter().map(String::as_str))
        .map(|word| CString::new(word).map_err(|_| format!("the argument `{word:?}` holds a zero byte")))
        .collect::<Result<_, _>>()?;
    let count = c_int::try_from(words.len()).map_err(|_| "too many arguments".to_owned())?;
    let mut pointers: Vec<*mut c_char> = words.iter().map(|word| word.as_ptr().cast_mut()).collect();
    pointers.push(std::ptr::null_mut());
    // SAFETY: `pointers` are `count` live C strings and the null that ends an argv.
    let result = unsafe { query_cmdline(count, pointers.as_mut_ptr()) };
    if result.is_null() {
        return Err("the library gave no result".to_owned().into());
    }
    // SAFETY: `result` is a live result of this library.
    let error = unsafe { result_error(result) };
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null error is a C string that lives as long as its result, which is never freed.
    Err(unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned().into())
}

/// An error with its causes; libloading keeps the file's name in the cause.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Ends the process without destructors and exit hooks.
#[expect(unsafe_code, reason = "std has no exit that skips the exit hooks")]
fn exit_at_once(code: c_int) -> ! {
    // SAFETY: `_exit` has no precondition.
    unsafe { libc::_exit(code) }
}
