//! Attacks, one after the other, beside ordinary clients. Measured are the effect on these, the
//! server's memory, and whether it gives all of that back.
//!
//! Each family of attacks has a file with a table of its scenarios. Only loopback is attacked, for
//! a few seconds, and only servers that are started here.

mod elsewhere;
mod families;
mod ground;
mod http;
mod http2;
mod http2_client;
mod links;
mod material;
mod names;
mod neighbour;
mod patches;
mod queue;
mod report;
mod scenario;
mod scene;
mod slow;
mod sockets;
mod terms;
mod values;
mod views;

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use self::families::all;
use self::report::{Outcome, table};
use self::scenario::Scenario;
use crate::args;
use crate::open_files;
use crate::progress::Progress;

/// Our connections beside those of the attack.
const FILES: u64 = 512;

pub(super) fn attack(args: &args::AttackBench) -> Result<()> {
    let mut out = io::stdout().lock();
    if args.list {
        for scenario in all() {
            writeln!(out, "{:<20}  {}", scenario.name, scenario.summary)?;
        }
        return Ok(());
    }
    let wanted = wanted(&args.only)?;
    open_files::raise(slow::SILENT_CONNECTIONS + FILES)?;
    // `None` is the server beside this program.
    let servers: Vec<Option<PathBuf>> = match args.server.as_slice() {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    };
    let progress = Progress::new();
    let (mut outcomes, mut failures) = (Vec::new(), Vec::new());
    for scenario in wanted {
        // Servers take turns, so that other load on the machine affects all of them.
        for server in &servers {
            match Outcome::measure(args, scenario, server.as_ref(), &progress) {
                Ok(outcome) => outcomes.push(outcome),
                // One attack that fails does not stop the others.
                Err(failure) => failures.push(failure.context(scenario.name)),
            }
        }
    }
    progress.end();
    if args.json {
        let attacks: Vec<Value> = outcomes.iter().map(Outcome::json).collect();
        let settings = json!({ "rate": args.rate, "seconds": args.seconds.as_secs_f64() });
        let failed: Vec<String> = failures.iter().map(|failure| format!("{failure:#}")).collect();
        let report = json!({
            "scenario": "attack", "settings": settings, "attacks": attacks, "not_measured": failed,
        });
        writeln!(out, "{report}")?;
    } else {
        table(&outcomes, args, &mut out)?;
        for failure in &failures {
            writeln!(out, "not measured: {failure:#}")?;
        }
    }
    failures.pop().map_or(Ok(()), Err)
}

/// The attacks of these names; without names, all that this machine can run.
fn wanted(names: &[String]) -> Result<Vec<&'static Scenario>> {
    let have_tool = slow::have_slowhttptest();
    let hint = "on Debian: apt install slowhttptest";
    if names.is_empty() {
        if !have_tool {
            eprintln!(
                "left out: slow-headers, slow-body and slow-read, which need slowhttptest ({hint})"
            );
        }
        return Ok(all().filter(|scenario| have_tool || !scenario.needs_slowhttptest).collect());
    }
    let mut wanted = Vec::new();
    for name in names {
        let scenario = all().find(|scenario| scenario.name == name.as_str()).ok_or_else(|| {
            anyhow!(
                "there is no attack `{name}`: `halfping-bench attack --list` tells which there are"
            )
        })?;
        if scenario.needs_slowhttptest && !have_tool {
            bail!("cannot run `slowhttptest`; {hint}");
        }
        wanted.push(scenario);
    }
    Ok(wanted)
}
