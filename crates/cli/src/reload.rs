//! Rules and keys that are read again while the server runs: when it is sent SIGHUP, and when the
//! configuration file, or a file of keys that it names, has changed.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime};
use std::{fs, io, thread};

use halfping::Api;
use tracing::{error, info, warn};

use crate::args::Serve;
use crate::config::{Config, Counts, key_files};
use crate::forward_auth;
use crate::report::{Blame, Failure};

/// Time between two looks at the files. One that has changed is read when it has stayed the same
/// for so long, since it may still be written.
const INTERVAL: Duration = Duration::from_secs(1);
/// A step of the clock that files get their times from.
const CLOCK_STEP: Duration = Duration::from_millis(10);
/// Files that are looked at. Changes of more are seen by SIGHUP.
const FILES_MAX: usize = 256;

/// A configuration file that is looked at, with the files that it names.
struct Reload {
    api: Api,
    args: Serve,
    file: PathBuf,
    listen: std::net::SocketAddr,
    /// The rules, issuers and API keys that are in use.
    counts: Counts,
    /// The text that was read last.
    text: String,
    files: Files,
}

/// Reads rules and keys again whenever there is a reason to, on a thread of its own: files may be
/// on a disk that does not answer. Without a configuration file there is nothing to read.
pub(crate) fn follow(api: &Api, args: Serve, config: &Config, listen: std::net::SocketAddr) {
    let Some(file) = args.config.clone() else { return };
    let text = config.text().to_owned();
    let files = Files::new(&file, &text, config.read_at());
    let reload =
        Reload { api: api.clone(), args, file, listen, counts: config.counts(), text, files };
    let (tell, told) = channel();
    hear_signals(tell);
    let spawned = thread::Builder::new().name("reload".into()).spawn(move || reload.run(&told));
    if let Err(error) = spawned {
        warn!(%error, "no thread to look at the configuration: it is read when the server starts");
    }
}

/// Tells of each SIGHUP.
fn hear_signals(tell: Sender<()>) {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::hangup()) {
            Ok(mut hangups) => drop(tokio::spawn(async move {
                while hangups.recv().await.is_some() && tell.send(()).is_ok() {}
            })),
            Err(error) => {
                warn!(%error, "SIGHUP cannot be heard; files are looked at all the same");
                std::mem::forget(tell);
            }
        }
    }
    // Nobody tells of anything there: the thread only waits.
    #[cfg(not(unix))]
    std::mem::forget(tell);
}

impl Reload {
    /// Waits for a reason to read the files, again and again, until the server ends.
    fn run(mut self, told: &Receiver<()>) {
        loop {
            match told.recv_timeout(INTERVAL) {
                Ok(()) => {
                    self.files.note();
                    self.read("SIGHUP");
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(changed) = self.files.changed() {
                        self.read(&changed.display().to_string());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Reads all, and logs what that came to. What cannot be used changes nothing.
    fn read(&mut self, why: &str) {
        match self.try_read() {
            Ok(counts) => {
                let Counts { rules, issuers, keys } = counts;
                let before = &self.counts;
                info!(
                    why,
                    rules,
                    rules_before = before.rules,
                    issuers,
                    issuers_before = before.issuers,
                    api_keys = keys,
                    api_keys_before = before.keys,
                    "rules and keys were read again"
                );
                if rules == 0 && before.rules > 0 {
                    warn!("there are no rules any more: whoever gets in may do everything");
                }
                self.counts = counts;
            }
            Err(failure) => error!(
                why,
                hint = failure.advice(),
                "rules and keys stay as they were, since they cannot be read: {}",
                failure.message()
            ),
        }
    }

    fn try_read(&mut self) -> Result<Counts, Failure> {
        let read = Config::read(Some(&self.file), &self.args.limit);
        // Also files of a text that is wrong are looked at: they may be what is missing.
        if let Ok(text) = fs::read_to_string(&self.file) {
            self.files.watch(&self.file, &text);
            for section in others_changed(&self.text, &text) {
                warn!("`{section}` has changed: that counts when the server is started again");
            }
            self.text = text;
        }
        let config = read.inspect_err(|_| self.api.reload_failed())?;
        let options = self
            .args
            .access
            .asked(self.args.open)
            .and_then(|asked| config.options(asked, self.listen));
        let auth = options.and_then(|options| match config.forward() {
            Some(forward) => forward_auth::asking(options.auth, forward),
            None => Ok(options.auth),
        });
        let auth = auth.inspect_err(|_| self.api.reload_failed())?;
        self.api.reload_auth(&auth).map_err(|error| {
            Failure::new(Blame::Input, error.to_string()).at(self.file.display())
        })?;
        Ok(config.counts())
    }
}

/// The settings that differ between two texts, but for those that are read again. None, if one of
/// them is no TOML.
fn others_changed(before: &str, now: &str) -> Vec<String> {
    let others = |text: &str| {
        let mut table: toml::Table = toml::from_str(text).ok()?;
        table.retain(|name, _| name != "auth" && name != "rule");
        Some(table)
    };
    let (Some(before), Some(now)) = (others(before), others(now)) else { return Vec::new() };
    let names = before.keys().chain(now.keys().filter(|name| !before.contains_key(*name)));
    names.filter(|name| before.get(*name) != now.get(*name)).cloned().collect()
}

/// Files, and how they were when they were read.
struct Files {
    paths: Vec<PathBuf>,
    read: Vec<Stamp>,
    /// Another state, in which they were at the last look.
    changing: Option<Vec<Stamp>>,
}

/// That by which a change of a file is noticed without reading it; `None` of one that is not there.
type Stamp = Option<(SystemTime, u64, u64)>;

impl Files {
    /// Files that were read at a time. Those that have changed since then count as not read:
    /// opening a store takes a while.
    fn new(file: &Path, text: &str, read_at: SystemTime) -> Files {
        let mut files = Files { paths: Vec::new(), read: Vec::new(), changing: None };
        files.watch(file, text);
        files.note();
        let has_changed =
            |stamp: &Stamp| stamp.is_some_and(|(modified, ..)| modified + CLOCK_STEP >= read_at);
        files.read.iter_mut().filter(|stamp| has_changed(stamp)).for_each(|stamp| *stamp = None);
        files
    }

    /// Looks at these from now on: the configuration file, and those that its text names.
    fn watch(&mut self, file: &Path, text: &str) {
        let directory = file.parent().unwrap_or(Path::new(""));
        self.paths = vec![file.to_owned()];
        self.paths.extend(key_files(text).map(|name| directory.join(name)).take(FILES_MAX));
        if self.read.len() != self.paths.len() {
            self.note();
        }
    }

    /// Takes note that they are read now.
    fn note(&mut self) {
        (self.read, self.changing) = (self.stamps(), None);
    }

    /// The first file that differs from what was read, once all have stayed as they are between two
    /// looks. They count as read from then on.
    fn changed(&mut self) -> Option<PathBuf> {
        let now = self.stamps();
        let place = now.iter().zip(&self.read).position(|(now, read)| now != read);
        let Some(place) = place else {
            self.changing = None;
            return None;
        };
        if self.changing.as_ref() != Some(&now) {
            self.changing = Some(now);
            return None;
        }
        (self.read, self.changing) = (now, None);
        Some(self.paths[place].clone())
    }

    fn stamps(&self) -> Vec<Stamp> {
        self.paths.iter().map(|path| stamp(path).ok()).collect()
    }
}

fn stamp(path: &Path) -> io::Result<(SystemTime, u64, u64)> {
    let metadata = fs::metadata(path)?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Ok((metadata.modified()?, metadata.len(), inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_need_a_restart_are_named() {
        let before = "listen = 7070\n[limits]\nlinks = 5\n[[rule]]\npath = \"/\"";
        let check = |now: &str, expect: &[&str]| assert_eq!(others_changed(before, now), expect);
        check(before, &[]);
        check("listen = 7070\n[limits]\nlinks = 5\n[auth]\nrevoked = \"/r\"", &[]);
        check("[limits]\nlinks = 6\n[cors]\norigins = []", &["limits", "listen", "cors"]);
        check("no TOML", &[]);
    }

    #[test]
    fn a_change_is_seen_when_it_has_stayed_between_two_looks() {
        let directory =
            std::env::temp_dir().join(format!("halfping-reload-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (file, keys) = (directory.join("halfping.toml"), directory.join("keys.json"));
        let text = "[[auth.issuer]]\nfile = \"keys.json\"";
        fs::write(&file, text).unwrap();
        let later = SystemTime::now() + Duration::from_secs(60);
        let mut files = Files::new(&file, text, later);
        assert_eq!(files.paths, [file.clone(), keys.clone()]);
        assert_eq!(files.changed(), None);
        fs::write(&keys, "{").unwrap();
        assert_eq!(files.changed(), None, "it may still be written");
        fs::write(&keys, "{\"keys\":[]}").unwrap();
        assert_eq!(files.changed(), None);
        assert_eq!(files.changed(), Some(keys.clone()));
        assert_eq!(files.changed(), None);
        fs::remove_file(&keys).unwrap();
        assert_eq!(files.changed(), None);
        assert_eq!(files.changed(), Some(keys));
        let mut files = Files::new(&file, text, SystemTime::UNIX_EPOCH);
        assert_eq!(files.changed(), None);
        assert_eq!(files.changed(), Some(file), "it has changed before it was looked at");
        fs::remove_dir_all(&directory).unwrap();
    }
}
