//! One start of the engine: the checks before it, the process, and the wait until it answers.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, PipeWriter};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use thiserror::Error;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::child::EXIT_WRONG_RELEASE;
use crate::confine;
use crate::credentials::{Credentials, CredentialsError, Passwords, random_hex, write_private};
use crate::folder::Folder;
use crate::probe::{Answer, ask};
use crate::server_config::{plain_name, server_xml, users_xml};
use crate::{ENGINE_CHILD_ARG, EngineLibrary, EngineOptions};

/// How often something outside this process is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The engine did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// An address to listen on that other machines might reach.
    #[error(
        "the engine cannot listen on {address}: its listeners are not encrypted, so only 127.0.0.1 is let"
    )]
    NotLoopback {
        /// The address.
        address: SocketAddr,
    },
    /// A user whose name cannot stand in the configuration.
    #[error(
        "`{name}` cannot be a {what} of the engine; expected a letter or `_`, then letters, digits and `_`, and not `default`"
    )]
    Name {
        /// What it would name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The data folder cannot be used.
    #[error("engine folder `{}`", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another supervisor, or a ClickHouse, is at work in the folder.
    #[error("engine folder `{}` is in use by another process", path.display())]
    FolderInUse {
        /// The folder.
        path: PathBuf,
    },
    /// Another program listens already.
    #[error("port {} of the engine is in use by another program", address.port())]
    PortInUse {
        /// The address.
        address: SocketAddr,
    },
    /// No passwords.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// This ClickHouse must not run on this folder.
    #[error("engine folder `{}`: {told}", path.display())]
    WrongRelease {
        /// The folder.
        path: PathBuf,
        /// Why not, and what to do.
        told: String,
    },
    /// The system does not let the engine listen there.
    #[error("listen on {address} for the engine")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A user for BI tools was asked for, and nothing would keep it from the machine's files.
    #[error(
        "this system cannot confine the engine to its own files (that needs Landlock, Linux 5.19 or newer), so it has no read-only user"
    )]
    CannotConfine,
    /// The program cannot be run.
    #[error("start `{}` as the engine", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The process ended before it answered.
    #[error("the engine ended during its start ({status}){}", quoted(log))]
    Exited {
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its log.
        log: String,
    },
    /// The process runs, and did not answer in time. It has been killed.
    #[error("the engine did not answer within {waited:?}{}{}", answered(answer.as_deref()), quoted(log))]
    Silent {
        /// How long it was given.
        waited: Duration,
        /// What answered in its place.
        answer: Option<String>,
        /// The last lines of its log.
        log: String,
    },
}

fn quoted(log: &str) -> String {
    if log.is_empty() { "; its log is empty".to_owned() } else { format!("; its log ends with:\n{log}") }
}

fn answered(answer: Option<&str>) -> String {
    answer.map_or_else(String::new, |line| format!("; its port answers `{line}`, as another server would"))
}

/// What stays the same from start to start of one engine.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) options: EngineOptions,
    pub(crate) folder: Folder,
    pub(crate) http: SocketAddr,
    pub(crate) tcp: Option<SocketAddr>,
    passwords: Credentials,
    nonce: String,
    // Held, not read: the folder is ours for as long as this lives.
    lock: File,
}

/// A process that has answered.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    terminal: OwnedFd,
    hold: PipeWriter,
}

impl Launch {
    /// Checks the options, takes the folder, writes the configuration and fixes the ports. `held` is the
    /// folder's lock, if an earlier try has it already.
    pub(crate) fn prepare(
        options: EngineOptions,
        held: Option<File>,
    ) -> Result<(Self, Option<Credentials>), StartError> {
        check(&options)?;
        let in_folder = |source| StartError::Folder { path: options.data_dir.clone(), source };
        let folder = Folder::create(&options.data_dir).map_err(in_folder)?;
        let in_use = || StartError::FolderInUse { path: options.data_dir.clone() };
        let lock = match held {
            Some(lock) => lock,
            None => folder.lock().map_err(in_folder)?.ok_or_else(in_use)?,
        };
        let passwords = Passwords::load_or_make(&folder.parts().credentials())?;
        let nonce = random_hex()?;
        let config = folder.parts().config();
        write_private(&config.join("config.xml"), server_xml(&options, folder.parts(), &nonce).as_bytes())
            .map_err(in_folder)?;
        write_private(&config.join("users.xml"), users_xml(&options, &passwords).as_bytes())
            .map_err(in_folder)?;
        let (http, tcp) = fix_ports(&options)?;
        let bi = options.users.bi.as_ref().map(|bi| passwords.bi(&bi.name));
        let passwords = passwords.pipeline(&options.users.pipeline);
        Ok((Self { folder, http, tcp, passwords, nonce, lock, options }, bi))
    }

    /// The folder's lock, for another try. Were it given back and taken again, a process that somebody else in
    /// this program is just starting could still hold a copy of it, up to its `exec`.
    pub(crate) fn into_lock(self) -> File {
        self.lock
    }

    pub(crate) fn credentials(&self) -> &Credentials {
        &self.passwords
    }

    /// Starts the process and waits until it answers as ours.
    pub(crate) async fn start(&self) -> Result<Running, StartError> {
        let deadline = Instant::now() + self.options.start_timeout;
        self.wait_for_predecessor(deadline).await?;
        for address in std::iter::once(self.http).chain(self.tcp) {
            check_free(address)?;
        }
        let log_from = self.folder.log_bytes();
        let mut running = self.spawn()?;
        let mut another = None;
        loop {
            let status = running.child.try_wait().map_err(|source| self.spawn_failed(source))?;
            if let Some(status) = status {
                return Err(self.ended(status, log_from));
            }
            match ask(self.http, &self.passwords, &self.nonce).await {
                Answer::Ours(release) if listens(self.tcp).await => {
                    self.folder.keep_release(release).map_err(|source| self.folder_failed(source))?;
                    return Ok(running);
                }
                Answer::Another(line) => another = Some(line),
                Answer::Ours(_) | Answer::Silence => {}
            }
            if Instant::now() > deadline {
                running.kill().await;
                let (waited, log) = (self.options.start_timeout, self.folder.last_words(log_from));
                return Err(StartError::Silent { waited, answer: another, log });
            }
            sleep(LOOK_AGAIN).await;
        }
    }

    /// The engine of a supervisor that was killed needs a moment to notice and to stop.
    async fn wait_for_predecessor(&self, deadline: Instant) -> Result<(), StartError> {
        while self.folder.engine_runs().map_err(|source| self.folder_failed(source))? {
            if Instant::now() > deadline {
                return Err(StartError::FolderInUse { path: self.options.data_dir.clone() });
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    fn folder_failed(&self, source: io::Error) -> StartError {
        StartError::Folder { path: self.options.data_dir.clone(), source }
    }

    /// Why the process ended before it answered.
    fn ended(&self, status: ExitStatus, log_from: u64) -> StartError {
        let log = self.folder.last_words(log_from);
        if status.code() == Some(EXIT_WRONG_RELEASE) {
            return StartError::WrongRelease { path: self.options.data_dir.clone(), told: log };
        }
        StartError::Exited { status, log }
    }

    fn spawn(&self) -> Result<Running, StartError> {
        let failed = |source| self.spawn_failed(source);
        let (hold_end, hold) = io::pipe().map_err(failed)?;
        let (terminal, terminal_end) = open_terminal().map_err(failed)?;
        let mut command = Command::new(self.program().map_err(failed)?);
        command
            .args(&self.options.program.first_args)
            .args(self.child_args().map_err(failed)?)
            .env_clear()
            .env("TZ", "UTC")
            // Whatever a client configuration in the user's home says, it is not about this server.
            .env("HOME", self.folder.root())
            .current_dir(self.folder.root())
            .stdin(Stdio::from(OwnedFd::from(hold_end)))
            .stdout(Stdio::from(terminal_end))
            .stderr(self.folder.new_error_output().map_err(failed)?)
            // SYSTEM SHUTDOWN signals its whole process group, and so does Ctrl-C at our terminal.
            .process_group(0);
        let child = command.spawn().map_err(failed)?;
        Ok(Running { child, terminal, hold })
    }

    fn program(&self) -> io::Result<PathBuf> {
        self.options.program.path.clone().map_or_else(std::env::current_exe, std::path::absolute)
    }

    fn spawn_failed(&self, source: io::Error) -> StartError {
        StartError::Spawn { program: self.program().unwrap_or_default(), source }
    }

    fn child_args(&self) -> io::Result<Vec<OsString>> {
        let library = std::path::absolute(self.options.library.path())?;
        let kind = match self.options.library {
            EngineLibrary::Chdb(_) => "chdb",
            EngineLibrary::Binary(_) => "binary",
        };
        let listen = if self.tcp.is_some() { "http+tcp" } else { "http" };
        let mut args: Vec<OsString> =
            vec![ENGINE_CHILD_ARG.into(), kind.into(), library.into(), listen.into()];
        args.push(self.folder.root().into());
        args.push(flag("--path=", &self.folder.parts().clickhouse()));
        args.push(flag("--config-file=", &self.folder.parts().config().join("config.xml")));
        args.push(format!("--http_port={}", self.http.port()).into());
        args.extend(self.tcp.map(|tcp| format!("--tcp_port={}", tcp.port()).into()));
        args.push(format!("--listen_host={}", self.http.ip()).into());
        let fixed = [
            "--interactive",
            "--disable_suggestion",
            "--history_file=/dev/null",
            "--progress=off",
            "--progress-table=off",
            "--logger.console=false",
        ];
        args.extend(fixed.map(OsString::from));
        Ok(args)
    }
}

impl Running {
    /// Lets go of the engine, which then stops by itself; kills it after `grace`. `None`: it was killed.
    pub(crate) async fn stop(self, grace: Duration) -> io::Result<Option<ExitStatus>> {
        let Self { mut child, terminal, hold } = self;
        // The query that holds the server up ends first, then its prompt sees the end of input.
        drop(hold);
        drop(terminal);
        if let Ok(status) = tokio::time::timeout(grace, child.wait()).await {
            return status.map(Some);
        }
        kill_group(&child);
        child.wait().await.map(|_| None)
    }

    async fn kill(mut self) {
        kill_group(&self.child);
        // It is dead or cannot be killed; there is nothing to do about the second.
        let _ = self.child.wait().await;
    }
}

fn kill_group(child: &Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(group) = group {
        // Fails only when the group is gone already.
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn flag(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(name);
    flag.push(path);
    flag
}

fn check(options: &EngineOptions) -> Result<(), StartError> {
    for address in std::iter::once(options.http).chain(options.tcp) {
        if address.ip() != IpAddr::V4(Ipv4Addr::LOCALHOST) {
            return Err(StartError::NotLoopback { address });
        }
    }
    let users = std::iter::once(&options.users.pipeline).chain(options.users.bi.as_ref().map(|bi| &bi.name));
    for name in users {
        if !plain_name(name) || name == "default" {
            return Err(StartError::Name { what: "user", name: name.clone() });
        }
    }
    match &options.users.bi {
        Some(bi) if bi.name == options.users.pipeline => {
            Err(StartError::Name { what: "second user", name: bi.name.clone() })
        }
        Some(_) if !confine::possible() => Err(StartError::CannotConfine),
        Some(_) | None => Ok(()),
    }
}

/// Picks free ports for those that are 0. Both are held while picking, so that they differ.
fn fix_ports(options: &EngineOptions) -> Result<(SocketAddr, Option<SocketAddr>), StartError> {
    let pick = |address: SocketAddr| -> Result<(SocketAddr, Option<TcpListener>), StartError> {
        if address.port() != 0 {
            return Ok((address, None));
        }
        let bound = TcpListener::bind(address).and_then(|held| Ok((held.local_addr()?, Some(held))));
        bound.map_err(|source| not_bound(address, source))
    };
    let (http, _http_held) = pick(options.http)?;
    let tcp = options.tcp.map(pick).transpose()?;
    Ok((http, tcp.map(|(address, _held)| address)))
}

/// A foreign server on the port would answer in our engine's place, so look before the start.
fn check_free(address: SocketAddr) -> Result<(), StartError> {
    TcpListener::bind(address).map(drop).map_err(|source| not_bound(address, source))
}

fn not_bound(address: SocketAddr, source: io::Error) -> StartError {
    match source.kind() {
        io::ErrorKind::AddrInUse => StartError::PortInUse { address },
        _ => StartError::Listen { address, source },
    }
}

async fn listens(address: Option<SocketAddr>) -> bool {
    match address {
        Some(address) => tokio::net::TcpStream::connect(address).await.is_ok(),
        None => true,
    }
}

/// A pseudo-terminal: the end that is kept, and the end that becomes the engine's input.
fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let kept = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&kept)?;
    unlockpt(&kept)?;
    let name = ptsname(&kept, Vec::new())?;
    // NOCTTY: a program without a terminal must not get this one, or its end would hang us up.
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let given = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty())?;
    Ok((kept, given))
}
