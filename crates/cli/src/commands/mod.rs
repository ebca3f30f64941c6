//! The commands, one file each. The grammar is in `args`.

mod backup;
mod bench;
mod demo;
mod read;
mod replay;
mod rules;
mod serve;
mod watch;
mod write;

use tokio::runtime::Builder;

use crate::args::Command;
use crate::report::{Blame, Failure};

/// Runs a command to its end.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    let command = match command {
        Command::Check(args) => return backup::check(args),
        Command::Rules(args) => return rules::rules(args),
        command => command,
    };
    let serves = matches!(command, Command::Serve(_) | Command::Demo(_));
    // A client waits for one server: threads of its own would only take cores from it.
    let mut builder =
        if serves { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let runtime = builder
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Blame::Input, format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Serve(args) => serve::serve(args).await,
            Command::Demo(args) => demo::demo(args).await,
            Command::Get(args) => read::get(args).await,
            Command::Put(args) => write::put(args).await,
            Command::Merge(args) => write::merge(args).await,
            Command::Delete(args) => write::delete(args).await,
            Command::Watch(args) => watch::watch(args).await,
            Command::Replay(args) => replay::replay(args).await,
            Command::Backup(args) => backup::backup(args).await,
            Command::Restore(args) => backup::restore(args).await,
            Command::Bench(args) => bench::bench(args).await,
            Command::Check(_) | Command::Rules(_) => Ok(()), // above
        }
    });
    // A thread that reads stdin cannot be stopped, and must not keep the process alive.
    runtime.shutdown_background();
    outcome
}
