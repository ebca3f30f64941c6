//! Sets up what a step needs: Rust's own components, npm and PyPI packages inside the checkout,
//! Debian packages.
//!
//! Each is looked for first, so that a second run costs nothing. A thing that cannot be set up is
//! `Missing`, with a remedy.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::world::{World, typed};

/// A thing that a step needs and that could not be set up, with a remedy.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) what: String,
    pub(crate) remedy: String,
}

/// The oldest Node that the pinned packages run on.
const NODE_MAJOR_MIN: u32 = 20;

/// A component of the Rust toolchain, such as `rustfmt`; `cargo subcommand --version` tells whether
/// it is installed.
pub(crate) fn component(world: &World, component: &str, subcommand: &str) -> Result<(), Missing> {
    let there = || succeeds(world.cargo(&[subcommand, "--version"]));
    if there() || (spoken(world.command("rustup", &["component", "add", component])) && there()) {
        return Ok(());
    }
    Err(Missing {
        what: format!("{component} is not installed"),
        remedy: format!("run: rustup component add {component}"),
    })
}

/// Node, npm and the packages of `web/package-lock.json`. The build of `halfping-pages` installs
/// the same, and leaves the same note.
pub(crate) fn web(world: &World) -> Result<(), Missing> {
    node_program(world)?;
    let (lock, stamp) = ("web/package-lock.json", "web/node_modules/.installed-lock.json");
    let read = |path: &str| fs::read(world.root.join(path)).ok();
    if read(lock).is_some() && read(lock) == read(stamp) {
        return Ok(());
    }
    let missing =
        |remedy: String| Missing { what: "the packages of web/ are not there".to_owned(), remedy };
    if !spoken(world.command("npm", &["ci", "--prefix", "web", "--no-progress"])) {
        return Err(missing("see what npm said above; it needs the network".to_owned()));
    }
    let written = fs::copy(world.root.join(lock), world.root.join(stamp));
    written.map(drop).map_err(|error| missing(format!("could not write {stamp}: {error}")))
}

/// Node, npm and the packages of `conformance/package-lock.json`.
pub(crate) fn node(world: &World) -> Result<(), Missing> {
    let version = node_program(world)?;
    let lock = world.root.join("conformance/package-lock.json");
    once(world, "npm", &["conformance/node_modules"], &lock, &version, || {
        spoken(world.command("npm", &["ci", "--prefix", "conformance", "--no-progress"]))
    })
}

/// Node and npm. Returns Node's version.
fn node_program(world: &World) -> Result<String, Missing> {
    programs(world, &[("node", "nodejs"), ("npm", "npm")])?;
    let version = output(world.command("node", &["--version"])).unwrap_or_default();
    let major =
        version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < NODE_MAJOR_MIN) {
        return Err(Missing {
            what: format!(
                "Node {NODE_MAJOR_MIN} or newer is needed, `node --version` says {}",
                version.trim()
            ),
            remedy: "install a newer Node and put it first in PATH".to_owned(),
        });
    }
    Ok(version)
}

/// The tools of the documentation: mkdocs in `.tools/docs`, typedoc in `.tools/typedoc`, and the
/// packages that the client's types refer to.
pub(crate) fn site(world: &World) -> Result<(), Missing> {
    docs_python(world)?;
    let version = node_program(world)?;
    npm_ci(world, "clients/typescript", &version)?;
    // Not in `docs`: mkdocs reads all files there.
    let lock = world.root.join("docs/package-lock.json");
    once(world, "typedoc", &[".tools/typedoc/node_modules"], &lock, &version, || {
        let folder = world.root.join(".tools/typedoc");
        let copied = fs::create_dir_all(&folder).is_ok()
            && ["package.json", "package-lock.json"].iter().all(|name| {
                fs::copy(world.root.join("docs").join(name), folder.join(name)).is_ok()
            });
        copied
            && spoken(world.command("npm", &["ci", "--prefix", ".tools/typedoc", "--no-progress"]))
    })
}

/// Python and the packages of `docs/requirements.txt`, in `.tools/docs`.
fn docs_python(world: &World) -> Result<(), Missing> {
    programs(world, &[("python3", "python3")])?;
    let version = output(world.command("python3", &["--version"])).unwrap_or_default();
    let lock = world.root.join("docs/requirements.txt");
    once(world, "docs", &[".tools/docs"], &lock, &version, || {
        fs::remove_dir_all(world.root.join(".tools/docs")).ok();
        let venv = || spoken(world.command("python3", &["-m", "venv", ".tools/docs"]));
        let made = venv() || (debian(world, &["python3-venv"]).is_ok() && venv());
        let python = world.root.join(".tools/docs/bin/python");
        let packages = [
            "-m",
            "pip",
            "install",
            "-r",
            "docs/requirements.txt",
            "--quiet",
            "--disable-pip-version-check",
        ];
        made && spoken(world.command(python, &packages))
    })
}

/// The tools that build and test the TypeScript client.
pub(crate) fn typescript(world: &World) -> Result<(), Missing> {
    let version = node_program(world)?;
    npm_ci(world, "clients/typescript", &version)
}

/// A browser.
pub(crate) fn chromium(world: &World) -> Result<(), Missing> {
    programs(world, &[("chromium", "chromium")])
}

/// The needs of the examples: the client, built, a browser, curl, and the Python of the
/// documentation, whose samples run with them.
pub(crate) fn examples(world: &World) -> Result<(), Missing> {
    curl(world)?;
    chromium(world)?;
    if let Err(missing) = proxies(world)
        && world.ci
    {
        return Err(missing);
    }
    docs_python(world)?;
    typescript(world)?;
    let version = node_program(world)?;
    if !spoken(
        world.command("npm", &["run", "--silent", "--prefix", "clients/typescript", "build"]),
    ) {
        return Err(Missing {
            what: "the TypeScript client could not be built".to_owned(),
            remedy: "see what npm said above".to_owned(),
        });
    }
    npm_ci(world, "examples", &version)
}

/// Proxies, from the Debian packages in `docs/guides/proxies/packages.txt`, unpacked in
/// `.tools/proxies`: installed, they would be started.
pub(crate) fn proxies(world: &World) -> Result<(), Missing> {
    let lock = world.root.join("docs/guides/proxies/packages.txt");
    let packages = fs::read_to_string(&lock).unwrap_or_default();
    once(world, "proxies", &[".tools/proxies/root"], &lock, "", || {
        let folder = world.root.join(".tools/proxies");
        let debs = folder.join("debs");
        fs::remove_dir_all(&folder).ok();
        let cache = format!("Dir::Cache::archives={}", debs.display());
        let mut download = vec!["install", "--download-only", "--reinstall", "--yes", "--quiet"];
        download.extend(["--no-install-recommends", "-o", &cache]);
        download.extend(packages.split_whitespace());
        // Dependencies are downloaded too, except those that are installed already.
        let downloaded = fs::create_dir_all(debs.join("partial")).is_ok()
            && spoken(world.command("apt-get", &["update", "--quiet"]))
            && spoken(world.command("apt-get", &download));
        let unpack =
            |deb: &Path| {
                spoken(world.command(
                    "dpkg-deb",
                    &["--extract", &deb.to_string_lossy(), ".tools/proxies/root"],
                ))
            };
        let debs = fs::read_dir(&debs).into_iter().flatten().flatten().map(|entry| entry.path());
        downloaded
            && debs
                .filter(|path| path.extension().is_some_and(|end| end == "deb"))
                .all(|deb| unpack(&deb))
    })
}

/// The packages of a folder's `package-lock.json`, in its `node_modules`.
fn npm_ci(world: &World, folder: &str, version: &str) -> Result<(), Missing> {
    let lock = world.root.join(folder).join("package-lock.json");
    let modules = format!("{folder}/node_modules");
    once(world, &format!("npm-{}", folder.replace('/', "-")), &[&modules], &lock, version, || {
        spoken(world.command("npm", &["ci", "--prefix", folder, "--no-progress"]))
    })
}

/// Python and the packages of `conformance/requirements.txt`, in `.tools/venv`; where Python comes
/// without `venv`, in `.tools/python`.
pub(crate) fn python(world: &World) -> Result<(), Missing> {
    programs(world, &[("python3", "python3")])?;
    let version = output(world.command("python3", &["--version"])).unwrap_or_default();
    let lock = world.root.join("conformance/requirements.txt");
    once(world, "pypi", &[".tools/venv", ".tools/python"], &lock, &version, || {
        let remove = |name: &str| fs::remove_dir_all(world.root.join(".tools").join(name)).ok();
        let packages =
            ["-r", "conformance/requirements.txt", "--quiet", "--disable-pip-version-check"];
        let install =
            |python: &str, more: &[&str]| {
                spoken(world.command(
                    python,
                    &[&["-m", "pip", "install"], packages.as_slice(), more].concat(),
                ))
            };
        remove("venv");
        remove("python");
        let venv = || spoken(world.command("python3", &["-m", "venv", ".tools/venv"]));
        if venv() || (debian(world, &["python3-venv"]).is_ok() && venv()) {
            return install(&world.root.join(".tools/venv/bin/python").to_string_lossy(), &[]);
        }
        remove("venv"); // half made
        install("python3", &["--target", ".tools/python"])
    })
}

/// Autobahn's test suite, which no Python newer than 2.7 runs, in `.tools/autobahn`.
pub(crate) fn autobahn(world: &World) -> Result<(), Missing> {
    let Some(python) = python_2_7(world) else {
        return Err(Missing {
            what: "Autobahn's test suite needs Python 2.7, and none was found in PATH or in pyenv's versions"
                .to_owned(),
            remedy: "install one, such as with: pyenv install 2.7.18".to_owned(),
        });
    };
    let lock = world.root.join("conformance/autobahn/requirements.txt");
    once(world, "autobahn", &[".tools/autobahn"], &lock, &python, || {
        fs::remove_dir_all(world.root.join(".tools/autobahn")).ok();
        let pip = || succeeds(world.command(&python, &["-m", "pip", "--version"]));
        let has_pip = pip() || (spoken(world.command(&python, &["-m", "ensurepip"])) && pip());
        // The list is complete: the dependencies that the packages declare are not installed.
        let install = ["-m", "pip", "install", "--no-deps", "--target", ".tools/autobahn"];
        let packages = [
            "-r",
            "conformance/autobahn/requirements.txt",
            "--quiet",
            "--disable-pip-version-check",
        ];
        has_pip
            && spoken(world.command(&python, &[install.as_slice(), packages.as_slice()].concat()))
    })
}

/// A Python 2.7: the one in PATH, or one of pyenv's.
fn python_2_7(world: &World) -> Option<String> {
    let mut candidates = vec!["python2.7".to_owned()];
    let pyenv = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let pyenv = pyenv.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".pyenv")));
    let versions = pyenv.and_then(|pyenv| fs::read_dir(pyenv.join("versions")).ok());
    for version in versions.into_iter().flatten().flatten() {
        if version.file_name().to_string_lossy().starts_with("2.7.") {
            candidates.push(version.path().join("bin/python2.7").to_string_lossy().into_owned());
        }
    }
    // pyenv may have a `python2.7` in PATH that does not run.
    candidates.into_iter().find(|python| succeeds(world.command(python, &["--version"])))
}

/// A C++ compiler, for libFuzzer.
pub(crate) fn cxx(world: &World) -> Result<(), Missing> {
    programs(world, &[("c++", "g++")])
}

pub(crate) fn curl(world: &World) -> Result<(), Missing> {
    programs(world, &[("curl", "curl")])
}

/// Programs, and the Debian packages that contain them.
fn programs(world: &World, wanted: &[(&str, &str)]) -> Result<(), Missing> {
    let missing = || -> Vec<&str> {
        let absent = |program: &&(&str, &str)| !succeeds(world.command(program.0, &["--version"]));
        wanted.iter().filter(absent).map(|(_, package)| *package).collect()
    };
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    debian(world, &packages)?;
    match missing().as_slice() {
        [] => Ok(()),
        still => Err(Missing {
            what: format!("{} still missing after apt-get installed it", still.join(", ")),
            remedy: "see what apt-get said above".to_owned(),
        }),
    }
}

/// Installs Debian packages, which only root may do.
fn debian(world: &World, packages: &[&str]) -> Result<(), Missing> {
    let missing = |why: &str| Missing {
        what: format!("{} not installed, and {why}", packages.join(", ")),
        remedy: format!(
            "run: sudo apt-get update && sudo apt-get install -y {}",
            packages.join(" ")
        ),
    };
    if output(world.command("id", &["-u"])).is_none_or(|id| id.trim() != "0") {
        return Err(missing("only root may install them"));
    }
    let apt = |arguments: &[&str]| {
        let mut command = world.command("apt-get", arguments);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        spoken(command)
    };
    let install = [&["install", "--yes", "--quiet", "--no-install-recommends"], packages].concat();
    if apt(&["update", "--quiet"]) && apt(&install) {
        Ok(())
    } else {
        Err(missing("apt-get could not"))
    }
}

/// Runs `install`, unless it succeeded before with this lock file and this version of the runtime,
/// and one of the `folders` that it may make still exists.
fn once(
    world: &World,
    name: &str,
    folders: &[&str],
    lock: &Path,
    version: &str,
    install: impl FnOnce() -> bool,
) -> Result<(), Missing> {
    let missing =
        |remedy: String| Missing { what: format!("the {name} packages are not there"), remedy };
    let Ok(locked) = fs::read_to_string(lock) else {
        return Err(missing(format!("restore {}", lock.display())));
    };
    let stamp = world.root.join(".tools").join(format!("{name}.stamp"));
    let wanted = format!("{version}{locked}");
    let installed = folders.iter().any(|folder| world.root.join(folder).is_dir());
    if installed && fs::read_to_string(&stamp).is_ok_and(|stamp| stamp == wanted) {
        return Ok(());
    }
    if !install() {
        return Err(missing("see what the installer said above; it needs the network".to_owned()));
    }
    let written =
        fs::create_dir_all(world.root.join(".tools")).and_then(|()| fs::write(&stamp, wanted));
    written.map_err(|error| missing(format!("could not write {}: {error}", stamp.display())))
}

/// Runs a command and shows its output. Returns whether it succeeded.
fn spoken(mut command: Command) -> bool {
    println!("   set-up: {}", typed(&command));
    command.status().is_ok_and(|status| status.success())
}

fn succeeds(mut command: Command) -> bool {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn output(mut command: Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    String::from_utf8(output.stdout).ok()
}
