//! Builds the pages in `web/` and lists them for `include_bytes!`. The build of the binary succeeds
//! even if something is missing for that: a page that says what is missing takes their place.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest Node that Vite runs on.
const NODE_MIN: (u32, u32) = (20, 19);
const PAGES: [&str; 2] = ["console", "demo"];
/// The sources of the pages, from the root of the checkout.
const SOURCES: [&str; 7] = [
    "web/console",
    "web/demo",
    "web/package.json",
    "web/package-lock.json",
    "web/tsconfig.json",
    "web/vite.config.ts",
    "clients/typescript/src",
];
/// The note in `web/node_modules`: the lock file that it was installed from. `cargo xtask` reads
/// and writes it too.
const STAMP: &str = "node_modules/.installed-lock.json";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=HALFPING_PAGES");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("Cargo sets OUT_DIR")?);
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("Cargo sets CARGO_MANIFEST_DIR")?);
    let root = root.join("../..");
    let built = out.join("web");
    match build(&root, &built) {
        Ok(()) => {}
        Err(Missing { what, remedy, warn }) => {
            if warn {
                // A file that never exists: each build tries again.
                println!("cargo:rerun-if-changed={}", out.join("never").display());
                println!("cargo:warning=built without its pages: {what}; {remedy}");
            }
            instead(&built, &what, &remedy)?;
        }
    }
    fs::write(out.join("assets.rs"), list(&built)?)?;
    Ok(())
}

/// Reason why there are no pages, and the remedy.
struct Missing {
    what: String,
    remedy: String,
    warn: bool,
}

fn missing(what: impl Into<String>, remedy: &str) -> Missing {
    let remedy = format!("{remedy}, and build again");
    Missing { what: what.into(), remedy, warn: true }
}

fn build(root: &Path, built: &Path) -> Result<(), Missing> {
    if env::var_os("HALFPING_PAGES").is_some_and(|pages| pages == "skip") {
        let remedy = "build again without it".to_owned();
        return Err(Missing {
            what: "HALFPING_PAGES=skip was set".to_owned(),
            remedy,
            warn: false,
        });
    }
    let web = root.join("web");
    if !web.join("vite.config.ts").exists() {
        return Err(missing(
            "their sources are not there",
            "build it in a checkout of Halfping's repository",
        ));
    }
    for source in SOURCES {
        println!("cargo:rerun-if-changed={}", root.join(source).display());
    }
    let install = "install Node 20.19 or newer, with npm";
    let version = output(Command::new("node").arg("--version"));
    let version = version.ok_or_else(|| missing("there is no Node", install))?;
    let mut numbers =
        version.trim().trim_start_matches('v').split('.').map_while(|n| n.parse().ok());
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < NODE_MIN {
        return Err(missing(format!("Node {} is too old", version.trim()), install));
    }
    packages(&web)?;
    let mut vite = Command::new("node");
    vite.args(["node_modules/vite/bin/vite.js", "build", "--logLevel", "error"]).current_dir(&web);
    spoken(vite.env("HALFPING_WEB_OUT", built)).map_err(|why| {
        missing(format!("Vite cannot build them ({why})"), "see `npm run build` in web/")
    })
}

/// Makes `node_modules` match the lock file, one build at a time.
fn packages(web: &Path) -> Result<(), Missing> {
    let stamp = web.join(STAMP);
    let lock = fs::read(web.join("package-lock.json")).unwrap_or_default();
    let installed = || fs::read(&stamp).is_ok_and(|installed| installed == lock);
    if installed() {
        return Ok(());
    }
    let remedy = "see to it that `npm ci` in web/ succeeds (it needs the network)";
    let failed =
        |why: String| missing(format!("their npm packages cannot be installed ({why})"), remedy);
    // The lock is held until this function returns.
    let guard = File::create(web.join(".npm-ci.lock")).and_then(|file| file.lock().map(|()| file));
    let _guard = guard.map_err(|error| failed(error.to_string()))?;
    if installed() {
        return Ok(());
    }
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let mut ci = Command::new(npm);
    ci.args(["ci", "--no-audit", "--no-fund", "--no-progress", "--fetch-retries=1"])
        .current_dir(web);
    spoken(&mut ci).map_err(failed)?;
    fs::write(stamp, lock).map_err(|error| failed(error.to_string()))
}

/// Writes pages that say why the real ones are missing.
fn instead(built: &Path, what: &str, remedy: &str) -> std::io::Result<()> {
    let text = |raw: &str| raw.replace('&', "&amp;").replace('<', "&lt;");
    let page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n<title>Halfping</title>\n\
         <h1>This page is not in this binary</h1>\n<p>It was built without its pages: {}.\n<p>To have them, {}.\n\
         <p>Everything else works as it does with them.\n</html>\n",
        text(what),
        text(remedy)
    );
    let _ = fs::remove_dir_all(built);
    for name in PAGES {
        fs::create_dir_all(built.join(name))?;
        fs::write(built.join(name).join("index.html"), &page)?;
    }
    Ok(())
}

/// The source of an array of all files: path, strong ETag, bytes.
fn list(built: &Path) -> Result<String, Box<dyn Error>> {
    let mut files = Vec::new();
    let mut folders = vec![built.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    let hash = BuildHasherDefault::<DefaultHasher>::new();
    let mut code = String::from("&[\n");
    for file in files {
        let name: Vec<_> =
            file.strip_prefix(built)?.iter().map(|part| part.to_string_lossy()).collect();
        let bytes = fs::read(&file)?;
        let etag = format!("\"{:016x}\"", hash.hash_one(&bytes));
        let (name, file) = (name.join("/"), file.to_string_lossy());
        writeln!(
            code,
            "    Asset {{ name: {name:?}, etag: {etag:?}, bytes: include_bytes!({file:?}) }},"
        )?;
    }
    code.push(']');
    Ok(code)
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}

/// Runs a command. If it fails, the error is a line of its output.
fn spoken(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // Cargo keeps this in a file, and `cargo build -vv` shows it.
    eprintln!("{said}");
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let last = lines.clone().next_back().unwrap_or("it failed");
    Err(lines.find(|line| line.contains("rror")).unwrap_or(last).to_owned())
}
