//! A slow link: two network namespaces of Linux, joined by two pairs of virtual interfaces. One
//! pair is shaped on the server's side, and is for readers. The other is for the writer, whose
//! answers must not use the slow one.
//!
//! The namespaces have no names. They end with the processes in them, however these end: nothing
//! has to be cleaned up.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Error, Result, anyhow};

/// Interfaces on the reader's side, and the network of each. Nothing outside of the namespaces sees
/// these addresses.
const SHAPED: (&str, &str) = ("slow", "10.0.1");
const DIRECT: (&str, &str) = ("direct", "10.0.2");
/// The name of each interface on the server's side.
const PEER: &str = "server";
/// Bytes of the link's queue: a tenth of a second at 1 Mbit/s, like that of a home router.
const QUEUE_BYTES: u32 = 15_000;
/// Bytes that may go at once: it has to hold a packet or two.
const BURST_BYTES: u32 = 5_000;

/// A hint for a machine without namespaces.
const OR_URL: &str = "or give --url, to measure a server over a slow link that is there already";

/// Replaces this process by the same program, alone in a namespace.
#[cfg(target_os = "linux")]
pub(super) fn enter(flag: &str) -> Error {
    use std::os::unix::process::CommandExt;

    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return anyhow!("cannot find this program: {error}"),
    };
    let is_root = rustix::process::geteuid().is_root();
    // A user who is not root may be root of a user namespace, if the system allows that.
    let users: &[&str] = if is_root { &[] } else { &["--user", "--map-root-user"] };
    let probe = Command::new("unshare").args(users).args(["--net", "true"]).output();
    match probe {
        Ok(probe) if probe.status.success() => {}
        Ok(probe) => {
            let why = String::from_utf8_lossy(&probe.stderr).trim().to_owned();
            return anyhow!("cannot make a network namespace: {why}; run it as root, {OR_URL}");
        }
        Err(error) => return missing("unshare", &error),
    }
    let error = Command::new("unshare")
        .args(users)
        .args(["--net", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .arg(flag)
        .exec();
    missing("unshare", &error)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn enter(_: &str) -> Error {
    anyhow!("a slow link can be made on Linux only; run it there, {OR_URL}")
}

/// Changes a command's words so that it runs in a namespace of its own.
pub(super) fn in_a_namespace(words: Vec<OsString>) -> Vec<OsString> {
    ["unshare", "--net", "--"].into_iter().map(OsString::from).chain(words).collect()
}

/// Joins the namespace of a process with this one's. Returns the addresses for writing and for
/// reading.
pub(super) fn join(pid: u32, port: u16, kbits: u32) -> Result<(SocketAddr, SocketAddr)> {
    let pid = pid.to_string();
    let there =
        |words: &[&str]| run(&[&["nsenter", "--net", "--target", pid.as_str()], words].concat());
    for (name, network) in [SHAPED, DIRECT] {
        // The system may not have removed the last server's interface yet.
        let _ = Command::new("ip").args(["link", "delete", name]).output();
        let peer = format!("{PEER}-{name}");
        let (here, far) = (format!("{network}.1/24"), format!("{network}.2/24"));
        run(&["ip", "link", "add", name, "type", "veth", "peer", "name", &peer, "netns", &pid])?;
        run(&["ip", "address", "add", &here, "dev", name])?;
        run(&["ip", "link", "set", name, "up"])?;
        there(&["ip", "address", "add", &far, "dev", &peer])?;
        there(&["ip", "link", "set", &peer, "up"])?;
    }
    let (slow, rate) = (format!("{PEER}-{}", SHAPED.0), format!("{kbits}kbit"));
    let (burst, limit) = (BURST_BYTES.to_string(), QUEUE_BYTES.to_string());
    let shape = ["tc", "qdisc", "add", "dev", &slow, "root", "tbf"];
    there(&[&shape[..], &["rate", &rate, "burst", &burst, "limit", &limit]].concat())?;
    let at = |network: &str| {
        let address = format!("{network}.2:{port}").parse::<SocketAddr>();
        address.map_err(|error| anyhow!("{network}.2:{port}: {error}"))
    };
    Ok((at(DIRECT.1)?, at(SHAPED.1)?))
}

fn run(words: &[&str]) -> Result<()> {
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.map_err(|error| missing(OsStr::new(words[0]), &error))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let failure = anyhow!("`{}` failed: {why}", words.join(" "));
    Err(match words.iter().find(|word| **word == "ip" || **word == "tc") {
        Some(_) if why.contains("No such file") => {
            anyhow!("{failure}; on Debian: apt install iproute2")
        }
        Some(&"tc") => {
            anyhow!("{failure}; does the kernel have sch_tbf? `modprobe sch_tbf`, as root, tells")
        }
        _ => failure,
    })
}

fn missing(program: impl AsRef<OsStr>, error: &io::Error) -> Error {
    let program = program.as_ref().to_string_lossy();
    let package = if matches!(&*program, "ip" | "tc") { "iproute2" } else { "util-linux" };
    anyhow!("cannot run `{program}`: {error}; on Debian: apt install {package}")
}
