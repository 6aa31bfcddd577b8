//! The engine's process keeps to its own files.
//!
//! A local ClickHouse is made to read its user's files: the scalar function `file()` asks for no grant at
//! all, and the database `default` shows the whole file system. So the process gives up the rest of the
//! file system before the first line of ClickHouse runs, by Landlock (Linux 5.19 and newer), for itself and
//! for all that it starts. What stays: the data, the logs, the configuration, and what a C library, a name
//! lookup and the look at the machine's memory and processors need.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::raw::c_long;
use std::path::{Path, PathBuf};

/// Renaming and linking between folders, which ClickHouse does, came with the second version.
const VERSION_MIN: c_long = 2;

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;
/// Everything that the first two versions know: the bits 0 to 13.
const ALL_OF_VERSION_2: u64 = (1 << 14) - 1;

/// Rights that make sense for a file; the kernel refuses a rule that gives others to one.
const OF_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
const READ: u64 = READ_FILE | READ_DIR;

/// What everybody may know of the machine, and what a C library and a name lookup read.
const READABLE: [&str; 26] = [
    "/etc/ca-certificates",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/nsswitch.conf",
    "/etc/pki/tls",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/filesystems",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/sys",
    "/proc/uptime",
    "/proc/version",
    "/proc/vmstat",
    "/run/systemd/resolve",
    "/sys",
    "/usr/share",
];
const EXECUTABLE: [&str; 5] = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib"];

/// The files of one engine.
pub(crate) struct Files<'a> {
    /// What it may change.
    pub(crate) own: &'a [PathBuf],
    /// What it may read.
    pub(crate) read: &'a [PathBuf],
    /// The library or the binary.
    pub(crate) program: &'a Path,
}

/// Whether this system can confine the engine's process to its own files: Landlock, Linux 5.19 or newer.
/// Where it cannot, an engine has no read-only user.
#[must_use]
pub fn possible() -> bool {
    version() >= VERSION_MIN
}

/// Confines the calling thread, and every thread and process that it starts from now on.
///
/// # Errors
/// When the system refuses, or one of the files is not there.
pub(crate) fn confine(files: &Files<'_>) -> io::Result<()> {
    let version = version();
    if version < VERSION_MIN {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "the kernel has no Landlock, or an old one"));
    }
    let handled =
        ALL_OF_VERSION_2 | if version >= 3 { TRUNCATE } else { 0 } | if version >= 5 { IOCTL_DEV } else { 0 };
    let rules = Rules::new(handled)?;
    for path in files.own {
        rules.allow(path, handled)?;
    }
    for path in files.read {
        rules.allow(path, READ)?;
    }
    rules.allow(files.program, READ_FILE | EXECUTE)?;
    for (paths, rights) in [(READABLE.as_slice(), READ), (EXECUTABLE.as_slice(), READ | EXECUTE)] {
        for path in paths.iter().map(Path::new).filter(|path| path.exists()) {
            rules.allow(path, rights)?;
        }
    }
    let devices = READ | WRITE_FILE | TRUNCATE | IOCTL_DEV;
    rules.allow(Path::new("/dev"), devices & handled)?;
    // The folder of this process, whoever it starts: others stay closed.
    rules.allow(Path::new("/proc/self"), READ | WRITE_FILE)?;
    rules.enforce()
}

/// `struct landlock_ruleset_attr`, as the first version has it; the kernel takes the rest for zero.
#[repr(C)]
struct RulesetAttr {
    handled_access_fs: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneathAttr {
    allowed_access: u64,
    parent_fd: i32,
}

const RULE_PATH_BENEATH: c_long = 1;
const CREATE_RULESET_VERSION: c_long = 1;

/// Rules that are not enforced yet.
struct Rules {
    handled: u64,
    ruleset: OwnedFd,
}

impl Rules {
    #[expect(unsafe_code, reason = "std and rustix have no Landlock")]
    fn new(handled: u64) -> io::Result<Self> {
        let attr = RulesetAttr { handled_access_fs: handled };
        // SAFETY: `attr` lives through the call and has the stated size.
        let made = unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attr, size_of::<RulesetAttr>(), 0_u32)
        };
        let descriptor = i32::try_from(done(made)?).map_err(io::Error::other)?;
        // SAFETY: the call gave us this descriptor, and nobody else has it.
        let ruleset = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Self { handled, ruleset })
    }

    /// Allows `rights`, as far as they are handled, on a file or on all beneath a folder.
    #[expect(unsafe_code, reason = "std and rustix have no Landlock")]
    fn allow(&self, path: &Path, rights: u64) -> io::Result<()> {
        let named =
            |source: io::Error| io::Error::new(source.kind(), format!("`{}`: {source}", path.display()));
        let place = CString::new(path.as_os_str().as_encoded_bytes())?;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
        let opened = rustix::fs::open(place.as_c_str(), flags, rustix::fs::Mode::empty());
        let opened = opened.map_err(|error| named(error.into()))?;
        let folder = path.is_dir();
        let rights = rights & self.handled & if folder { u64::MAX } else { OF_FILES };
        let attr = PathBeneathAttr { allowed_access: rights, parent_fd: opened.as_raw_fd() };
        // SAFETY: `attr` lives through the call, and both descriptors are open.
        let added = unsafe {
            libc::syscall(
                libc::SYS_landlock_add_rule,
                self.ruleset.as_raw_fd(),
                RULE_PATH_BENEATH,
                &raw const attr,
                0_u32,
            )
        };
        done(added).map(drop).map_err(named)
    }

    #[expect(unsafe_code, reason = "std and rustix have no Landlock")]
    fn enforce(self) -> io::Result<()> {
        // SAFETY: this option takes plain numbers. No program that this process starts gains rights.
        done(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.into())?;
        // SAFETY: the descriptor is open.
        done(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.ruleset.as_raw_fd(), 0_u32) })
            .map(drop)
    }
}

/// The version that the kernel has; negative if none.
#[expect(unsafe_code, reason = "std and rustix have no Landlock")]
fn version() -> c_long {
    // SAFETY: with this flag the call takes no memory.
    unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<RulesetAttr>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    }
}

fn done(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_confined_thread_has_its_own_files_and_no_others() {
        if !possible() {
            eprintln!("skipped: no Landlock here");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let [own, config, secret] = ["own", "config", "secret"].map(|name| folder.path().join(name));
        for path in [&own, &config, &secret] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("file"), "x").unwrap();
        }
        let confined = std::thread::spawn({
            let (own, config, secret) = (own.clone(), config.clone(), secret.clone());
            move || {
                let program = std::env::current_exe().unwrap();
                let (own_files, read) = (std::slice::from_ref(&own), std::slice::from_ref(&config));
                let files = Files { own: own_files, read, program: &program };
                confine(&files).unwrap();
                let denied =
                    |done: io::Result<()>| done.unwrap_err().kind() == io::ErrorKind::PermissionDenied;
                fs::create_dir(own.join("sub")).unwrap();
                fs::rename(own.join("file"), own.join("sub/file")).unwrap();
                assert_eq!(fs::read_to_string(config.join("file")).unwrap(), "x");
                assert!(denied(fs::write(config.join("file"), "y")));
                assert!(denied(fs::read(secret.join("file")).map(drop)));
                assert!(denied(fs::read_dir(&secret).map(drop)));
                assert!(denied(fs::read("/etc/passwd").map(drop)));
                assert!(denied(fs::hard_link(own.join("sub/file"), secret.join("link"))));
                assert!(fs::read("/proc/meminfo").is_ok());
            }
        });
        confined.join().unwrap();
        assert_eq!(fs::read_to_string(secret.join("file")).unwrap(), "x", "the other threads are free");
    }
}
