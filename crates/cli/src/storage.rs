//! The storage of a server's state.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use halfping::{Api, Fault, FaultKind, Options, Progress};
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use tracing::{info, warn};

use crate::args::Storage;
use crate::report::{Blame, Failure};

/// The default directory.
pub(crate) const DATA: &str = "./halfping-data";
/// The time after which a progress bar is shown while opening.
const PATIENCE: Duration = Duration::from_millis(500);

/// Opens the API that the command line and the configuration ask for.
pub(crate) async fn open(
    args: &Storage,
    configured: Option<&Path>,
    options: Options,
) -> Result<Api, Failure> {
    if args.memory {
        if !options.ephemeral.is_empty() {
            warn!("with --memory, all is ephemeral: [regions] makes no difference");
        }
        info!("state is kept in memory, as asked: it is lost on exit");
        return Ok(Api::new(options));
    }
    let named =
        std::env::var_os("HALFPING_DATA").filter(|named| !named.is_empty()).map(PathBuf::from);
    let directory = args.data.clone().or(named).or(configured.map(Path::to_owned));
    let directory = directory.unwrap_or_else(|| DATA.into());
    refuse_tilde(&directory)?;
    let began = Instant::now();
    let (at, runtime) = (directory.clone(), tokio::runtime::Handle::current());
    let opened = tokio::task::spawn_blocking(move || {
        let _runtime = runtime.enter();
        let bar = Bar::new();
        Api::open(&at, options, |progress| bar.show(progress))
    });
    let opened = opened.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
    let (api, restored) = opened.map_err(|fault| {
        let failure = failure(&directory, &fault);
        match fault.kind {
            FaultKind::InUse => {
                failure.hint("stop that first; --data DIR takes another directory, --memory none")
            }
            _ => failure,
        }
    })?;
    info!(
        data = %directory.display(),
        revision = restored.revision,
        rows = restored.rows,
        replayed = restored.commits,
        bytes = restored.bytes,
        took_ms = began.elapsed().as_millis() as u64,
        "state is kept on disk"
    );
    Ok(api)
}

/// Refuses a `~` that no shell has replaced: it would make a directory of that name.
pub(crate) fn refuse_tilde(directory: &Path) -> Result<(), Failure> {
    if !directory.as_os_str().as_encoded_bytes().starts_with(b"~") {
        return Ok(());
    }
    let why = format!("{}: only a shell knows what `~` stands for", directory.display());
    Err(Failure::new(Blame::Input, why)
        .hint("write the directory whole, such as /home/me/halfping-data"))
}

/// Makes a failure of a store that cannot be used.
pub(crate) fn failure(directory: &Path, fault: &Fault) -> Failure {
    let failure = Failure::new(
        Blame::Input,
        format!("cannot use the store in {}: {fault}", directory.display()),
    );
    match fault.kind {
        FaultKind::InUse => failure.hint("stop that first, or take another directory"),
        FaultKind::Full => failure.hint("make room on the disk, or take another directory"),
        FaultKind::Damaged => failure.hint("`halfping restore` makes a new one from a backup"),
        FaultKind::ReadOnly | FaultKind::Io => failure.hint(
            "is it there, and may it be written? `serve --data DIR` takes another directory, `--memory` none",
        ),
        _ => failure,
    }
}

/// Progress of reading a store. Nothing is shown if it takes little time.
pub(crate) struct Bar {
    bar: ProgressBar,
    began: Instant,
}

impl Bar {
    pub(crate) fn new() -> Bar {
        let bar = ProgressBar::no_length();
        let template = "{elapsed_precise} [{bar:30}] {percent:>3}%  {pos} of {len} rows";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        Bar { bar, began: Instant::now() }
    }

    pub(crate) fn show(&self, progress: Progress) {
        if self.began.elapsed() > PATIENCE {
            self.bar.set_length(progress.of);
            self.bar.set_position(progress.done);
        }
        if progress.done == progress.of {
            self.clear();
        }
    }

    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// The content of a store, in words.
pub(crate) fn summary(directory: &Path, found: &halfping::Restored) -> String {
    format!(
        "{}: revision {}, {} rows and {} commits after them, {}",
        directory.display(),
        found.revision,
        HumanCount(found.rows),
        HumanCount(found.commits as u64),
        HumanBytes(found.bytes)
    )
}
