//! Which ports are to be listened on, and who has one already.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

use anyhow::{anyhow, bail};

/// An address that is to be listened on.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// What would listen there, as a person calls it.
    pub what: &'static str,
    /// The flag that names the port.
    pub flag: &'static str,
    /// The address.
    pub address: SocketAddr,
}

/// Looks whether all addresses are free, before anything is started.
///
/// # Errors
/// When one is not: with the port, who listens there if that can be known, and what to do.
pub fn check(wanted: &[Wanted]) -> anyhow::Result<()> {
    for (index, one) in wanted.iter().enumerate() {
        let port = one.address.port();
        if let Some(other) = wanted[..index].iter().find(|other| port != 0 && other.address == one.address) {
            bail!("port {port} was given to both {} and {}", other.what, one.what);
        }
        TcpListener::bind(one.address).map(drop).map_err(|error| refused(one, &error))?;
    }
    Ok(())
}

fn refused(wanted: &Wanted, error: &std::io::Error) -> anyhow::Error {
    let Wanted { what, flag, address } = wanted;
    let port = address.port();
    match error.kind() {
        ErrorKind::AddrInUse => {
            let by = holder(port).map_or_else(|| "another program".to_owned(), |holder| holder.to_string());
            anyhow!(
                "port {port} for {what} is in use by {by}\n\
                 hint: stop it, or take another port with {flag} (0 takes a free one)"
            )
        }
        ErrorKind::PermissionDenied => anyhow!(
            "port {port} for {what} is not for this user: {error}\nhint: take one above 1023 with {flag}"
        ),
        ErrorKind::AddrNotAvailable => anyhow!(
            "{} is no address of this machine\nhint: `ip address` lists them; --listen 0.0.0.0 is all of them",
            address.ip()
        ),
        _ => anyhow!("listen on {address} for {what}: {error}"),
    }
}

/// A process.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    name: String,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`, process {}", self.name, self.pid)
    }
}

/// Who listens on a port. `None` if it is another user's process, or gone.
fn holder(port: u16) -> Option<Holder> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let inodes: Vec<String> = tables.iter().flat_map(|table| listening_inodes(table, port)).collect();
    let sockets: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let pids = fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.into_iter().find_map(|pid: u32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let mut links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        links.any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str())).then(|| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            Holder { pid, name: name.trim().to_owned() }
        })
    })
}

/// The sockets that listen on a port, from a table such as `/proc/net/tcp`.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    let local = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter(|row| row.len() > 9 && row[1].ends_with(&local) && row[3] == LISTEN)
        .map(|row| row[9].to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_listens_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(holder(port).unwrap().pid, std::process::id());
        let wanted = Wanted { what: "Kafka", flag: "--kafka-port", address: listener.local_addr().unwrap() };
        let told = check(&[wanted]).unwrap_err().to_string();
        assert!(told.contains(&format!("port {port} for Kafka is in use by `")), "{told}");
        assert!(told.contains(&format!("process {}", std::process::id())), "{told}");
        assert!(told.contains("--kafka-port"), "{told}");
    }

    #[test]
    fn one_port_is_not_for_two() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let kafka = Wanted { what: "Kafka", flag: "--kafka-port", address };
        let told = check(&[kafka, Wanted { what: "ClickHouse", ..kafka }]).unwrap_err().to_string();
        assert!(told.contains("both Kafka and ClickHouse"), "{told}");
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        assert!(check(&[Wanted { address: free, ..kafka }, Wanted { address: free, ..kafka }]).is_ok());
    }

    #[test]
    fn only_listening_sockets_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0 0 4711 1 0\n\
             1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  0 0 4712 1 0\n";
        assert_eq!(listening_inodes(table, 8080), ["4711"]);
        assert_eq!(listening_inodes(table, 8081), [""; 0]);
    }
}
