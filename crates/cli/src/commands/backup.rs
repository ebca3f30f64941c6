//! `halfping check`, `backup` and `restore`: the work of operators with stored state.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Crc;
use halfping::{Api, Commit, Limits, Options};
use halfping_client::{Event, Frame, Kind, LINE_BYTES_MAX, Lost, WatchOptions};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::args::{Backup, Check, Restore};
use crate::recording::GZIP_MAGIC;
use crate::report::{Blame, Failure, tell};
use crate::storage::{self, Bar, summary};

/// Directory of a store while it is being restored, inside the store's own.
const PARTIAL: &str = "restore.partial";

pub(crate) fn check(args: Check) -> Result<(), Failure> {
    if !args.data.is_dir() {
        let why = format!("there is no directory {}", args.data.display());
        return Err(Failure::new(Blame::Input, why));
    }
    let bar = Bar::new();
    let found = halfping::check(&args.data, |progress| bar.show(progress));
    bar.clear();
    let found = found.map_err(|fault| storage::failure(&args.data, &fault))?;
    println!("{}: sound", summary(&args.data, &found));
    Ok(())
}

pub(crate) async fn backup(args: Backup) -> Result<(), Failure> {
    let cannot = |error: io::Error| {
        Failure::new(Blame::Input, format!("cannot write {}: {error}", args.file.display()))
    };
    if args.url.path.contains(['?', '#']) {
        let why = format!("a backup has all that is there; {} asks for less", args.url);
        return Err(Failure::new(Blame::Usage, why).hint("leave out what follows the path"));
    }
    let is_stdout = args.file == Path::new("-");
    // The file has another name until it is complete, so that nobody takes half a backup for a
    // whole one.
    let mut partial = args.file.clone().into_os_string();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let file = match is_stdout {
        true => None,
        false if args.file.exists() => {
            let why = format!("{} is there already", args.file.display());
            return Err(Failure::new(Blame::Input, why).hint("backups are not written over"));
        }
        false => Some(create(&partial).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let why = format!("{} is there already", partial.display());
                let hint =
                    "another backup is writing it, or left it when it was killed; then remove it";
                Failure::new(Blame::Input, why).hint(hint)
            }
            _ => cannot(error),
        })?),
    };
    let mut out: BufWriter<Box<dyn Write + '_>> = match &file {
        None => BufWriter::new(Box::new(io::stdout())),
        Some(file) => BufWriter::new(Box::new(file)),
    };
    let outcome = tokio::select! {
        outcome = write(&args, &mut out) => outcome,
        () = crate::stop::requested() => Err(Failure::new(Blame::Input, "stopped: the backup is not whole")),
    };
    let outcome = outcome.and_then(|bytes| out.flush().map(|()| bytes).map_err(cannot));
    drop(out);
    if let Some(file) = file {
        match &outcome {
            Ok(_) => {
                let renamed = file.sync_all().and_then(|()| fs::rename(&partial, &args.file));
                renamed.and_then(|()| sync_name(&args.file)).map_err(cannot)?;
            }
            Err(_) => drop(fs::remove_file(&partial)),
        }
    }
    let bytes = outcome?;
    tell(format_args!("{} written to {}", HumanBytes(bytes), args.file.display()));
    Ok(())
}

/// Creates a file that only its owner may read. An existing file or link of that name is left
/// alone.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Syncs the directory of a new file, so that its name survives a crash.
fn sync_name(path: &Path) -> io::Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    File::open(above.unwrap_or(Path::new(".")))?.sync_all()
}

/// Writes the frames of the root, up to the first whole state.
async fn write(args: &Backup, out: &mut impl Write) -> Result<u64, Failure> {
    let mut watch = args.url.client()?.watch(&args.url.path, WatchOptions::default())?;
    let bar = ProgressBar::new_spinner();
    let style =
        ProgressStyle::with_template("{elapsed_precise} {spinner}  {bytes} ({bytes_per_sec})");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let (mut bytes, mut sum) = (0, Crc::new());
    loop {
        match watch.next().await.map_err(|error| Failure::watch(&args.url, error))? {
            Event::Connected { .. } => {}
            Event::Lost { why: Lost::Network(fault), .. } => {
                return Err(Failure::request(&args.url, fault.into()));
            }
            Event::Lost { why, .. } => {
                return Err(Failure::new(
                    Blame::Peer,
                    format!("{}: {why}: the backup is not whole", args.url),
                ));
            }
            Event::Frame(frame) => {
                let is_object = |value: &RawValue| value.get().starts_with('{');
                if frame.kind == Kind::Gone
                    || frame.kind == Kind::Snapshot
                        && !frame.value.as_deref().is_some_and(is_object)
                {
                    let why = format!("there is nothing with members at {}", args.url);
                    return Err(Failure::new(Blame::Input, why)
                        .hint("a backup is of the root, or of an object"));
                }
                let line = self::line(&frame)?;
                out.write_all(&line)?;
                sum.update(&line);
                bytes += line.len() as u64;
                bar.set_position(bytes);
                if frame.kind == Kind::Synced {
                    let end = self::line(&End::of(&sum))?;
                    out.write_all(&end)?;
                    bar.finish_and_clear();
                    return Ok(bytes + end.len() as u64);
                }
            }
        }
    }
}

fn line(what: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    Ok(line)
}

/// The last line of a backup: its checksum. Without it, a backup with a changed byte would be read
/// as another state.
#[derive(PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    /// Checksum of all lines before, in hexadecimal digits.
    crc32: String,
}

impl End {
    fn of(sum: &Crc) -> End {
        End { crc32: format!("{:08x}", sum.sum()) }
    }
}

pub(crate) async fn restore(args: Restore) -> Result<(), Failure> {
    storage::refuse_tilde(&args.data)?;
    // A new restore may replace what a killed one left, and ignore what every file system has.
    let is_in_the_way = |name: &OsStr| name != PARTIAL && name != "lost+found";
    let is_new = !args.data.exists();
    let occupied = fs::read_dir(&args.data)
        .is_ok_and(|entries| entries.flatten().any(|entry| is_in_the_way(&entry.file_name())));
    if occupied {
        let why = format!(
            "{} is not empty: a backup is not written over what is there",
            args.data.display()
        );
        return Err(Failure::new(Blame::Input, why).hint("give it a new directory"));
    }
    let cannot = |error: io::Error| {
        Failure::new(Blame::Input, format!("cannot read {}: {error}", args.file.display()))
    };
    let mut lines: Box<dyn BufRead> = match args.file == Path::new("-") {
        true => Box::new(BufReader::new(io::stdin())),
        false => Box::new(BufReader::new(File::open(&args.file).map_err(cannot)?)),
    };
    if lines.fill_buf().map_err(cannot)?.starts_with(&GZIP_MAGIC) {
        let (file, data) = (args.file.display(), args.data.display());
        let why = format!("{file} is compressed with gzip");
        let hint = match args.file == Path::new("-") {
            true => format!("gunzip | halfping restore - {data}"),
            false => format!("gunzip < {file} | halfping restore - {data}"),
        };
        return Err(Failure::new(Blame::Input, why).hint(hint));
    }
    // The store is made in a directory of its own until it is complete. The target directory may be
    // a mount point, so it stays.
    let partial = args.data.join(PARTIAL);
    let _ = fs::remove_dir_all(&partial);
    let clear = || {
        let _ = fs::remove_dir_all(&partial);
        if is_new {
            let _ = fs::remove_dir(&args.data);
        }
    };
    // The server's limits admitted this state already, and nobody else waits for the engine here.
    let options = Options { limits: Limits::widest(), ..Options::default() };
    let (api, _) = Api::open(&partial, options, |_| {}).map_err(|fault| {
        clear();
        storage::failure(&args.data, &fault)
    })?;
    let outcome = tokio::select! {
        outcome = read(&args, &api, lines) => outcome,
        () = crate::stop::requested() => Err(Failure::new(Blame::Input, "stopped: the store is not whole")),
    };
    api.close().await;
    let bytes = match outcome {
        Ok(bytes) => bytes,
        Err(failure) => {
            clear();
            return Err(failure);
        }
    };
    move_up(&partial, &args.data).map_err(|error| {
        clear();
        Failure::new(
            Blame::Input,
            format!("cannot make a store in {}: {error}", args.data.display()),
        )
    })?;
    tell(format_args!("{} read; the store is in {}", HumanBytes(bytes), args.data.display()));
    Ok(())
}

/// Moves the content of a directory into the one above, durably.
fn move_up(partial: &Path, data: &Path) -> io::Result<()> {
    for entry in fs::read_dir(partial)? {
        let entry = entry?;
        fs::rename(entry.path(), data.join(entry.file_name()))?;
    }
    fs::remove_dir(partial)?;
    File::open(data)?.sync_all()?;
    sync_name(data)
}

/// Applies the frames of a backup.
async fn read(args: &Restore, api: &Api, mut lines: Box<dyn BufRead>) -> Result<u64, Failure> {
    let bar = ProgressBar::new_spinner();
    let style =
        ProgressStyle::with_template("{elapsed_precise} {spinner}  {bytes} ({bytes_per_sec})");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let (mut line, mut number, mut bytes) = (Vec::new(), 0u64, 0);
    let (mut sum, mut is_synced) = (Crc::new(), false);
    loop {
        line.clear();
        number += 1;
        let wrong = |why: String| {
            Failure::new(Blame::Input, format!("{}: line {number}: {why}", args.file.display()))
        };
        let mut limited = io::Read::take(&mut lines, LINE_BYTES_MAX as u64 + 1);
        let read =
            limited.read_until(b'\n', &mut line).map_err(|error| wrong(error.to_string()))?;
        if read == 0 {
            return Err(wrong("the backup ends before it is whole".into()).hint("take another one"));
        }
        if read > LINE_BYTES_MAX {
            return Err(wrong(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        bytes += read as u64;
        bar.set_position(bytes);
        if is_synced {
            let end: End = serde_json::from_slice(&line)
                .map_err(|error| wrong(format!("not the end of a backup: {error}")))?;
            if end != End::of(&sum) {
                let why = wrong("the backup is not as it was written".into());
                return Err(why.hint("bytes of it have changed; take another one"));
            }
            if !lines.fill_buf().map_err(|error| wrong(error.to_string()))?.is_empty() {
                return Err(wrong("there is more after the end of the backup".into()));
            }
            bar.finish_and_clear();
            return Ok(bytes);
        }
        sum.update(&line);
        let frame: Frame = serde_json::from_slice(&line)
            .map_err(|error| wrong(format!("not a frame of a backup: {error}")))?;
        let value = || frame.value.as_ref().ok_or_else(|| wrong("the frame has no value".into()));
        let commit = match frame.kind {
            Kind::Snapshot => Commit::new().put("/", value()?),
            Kind::Merge => Commit::new().merge("/", value()?),
            Kind::Patch => Commit::new().patch("/", value()?),
            Kind::Synced => {
                is_synced = true;
                continue;
            }
            kind => return Err(wrong(format!("a backup has no {kind:?} frames"))),
        };
        api.commit(commit).await.map_err(|error| wrong(error.to_string()))?;
    }
}
