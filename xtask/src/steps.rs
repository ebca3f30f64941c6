//! The steps, in order. Each is a command; some need set-up first.

use std::process::Command;

use crate::fuzz;
use crate::setup::{self, Missing};
use crate::world::World;

/// One check of CI.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Sets up what the step needs, or says what is missing.
    pub(crate) prepare: fn(&World) -> Result<(), Missing>,
    pub(crate) command: fn(&World) -> Command,
    /// True if it runs the binary, which has to be built first.
    pub(crate) needs_binary: bool,
}

/// All steps, cheap ones first.
///
/// `build` builds what `unit` runs, with the same profile and features. So nothing is compiled
/// twice, and `suites` and `clients` start the same binary as the integration tests.
pub(crate) const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        about: "formatting (cargo fmt --check)",
        prepare: |world| setup::component(world, "rustfmt", "fmt"),
        command: |world| world.cargo(&["fmt", "--all", "--check"]),
        needs_binary: false,
    },
    Step {
        name: "clippy",
        about: "lints, warnings are errors",
        prepare: |world| setup::component(world, "clippy", "clippy"),
        command: |world| {
            world.cargo_locked(
                &["clippy", "--workspace", "--all-targets"],
                &["--", "-D", "warnings"],
            )
        },
        needs_binary: false,
    },
    BUILD,
    Step {
        name: "unit",
        about: "unit, property, integration and doc tests",
        prepare: nothing,
        command: |world| {
            let last: &[&str] = if world.fail_fast { &[] } else { &["--no-fail-fast"] };
            let mut command = world.cargo_locked(&["test", "--workspace"], last);
            // In CI, generated cases are the same each time: a change is judged by what it does,
            // not by what a search finds by chance.
            let seeds = ["PROPTEST_RNG_SEED", "HALFPING_SEED"];
            let seeds = seeds.iter().filter(|name| world.ci && std::env::var(name).is_err());
            command.envs(seeds.map(|name| (name, "1")));
            command
        },
        needs_binary: false,
    },
    Step {
        name: "sim",
        about: "the simulator: seeds that failed once, many more, and faults that it has to find",
        prepare: nothing,
        command: |world| {
            // One build serves all runs: code for planted faults has no effect while none is
            // planted.
            let options =
                ["run", "--package", "halfping-sim", "--profile", "test", "--features", "mutants"];
            world.cargo_locked(&options, &["--", "--ci", "30"])
        },
        needs_binary: false,
    },
    Step {
        name: "pages",
        about: "types of the pages in web/, which the binary's build does not check",
        prepare: setup::web,
        command: |world| world.command("npm", &["run", "check", "--prefix", "web"]),
        needs_binary: false,
    },
    Step {
        name: "docs",
        about: "API documentation, warnings are errors",
        prepare: nothing,
        command: |world| {
            // The binary has the library's name, so its page would replace the library's.
            let mut command =
                world.cargo_locked(&["doc", "--workspace", "--no-deps", "--lib"], &[]);
            command.env("RUSTDOCFLAGS", "-D warnings");
            command
        },
        needs_binary: false,
    },
    Step {
        name: "site",
        about: "the documentation's site, into target/site: links, anchors, the TypeScript reference",
        prepare: setup::site,
        command: |world| {
            let python = world.root.join(".tools/docs/bin/python");
            // Not `--quiet`: warnings that are not printed are not counted either, and nothing
            // would fail.
            let mut command = world.command(python, &["-m", "mkdocs", "build", "--strict"]);
            command.env("NO_MKDOCS_2_WARNING", "1");
            command
        },
        needs_binary: false,
    },
    Step {
        name: "fuzz",
        about: "fuzzing with oracles of all that strangers send, a few seconds each",
        prepare: setup::cxx,
        command: |world| {
            let order = ["--", "fuzz", "--runs", fuzz::RUNS_IN_CI];
            world.cargo_locked(&["run", "--quiet", "--package", "xtask"], &order)
        },
        needs_binary: false,
    },
    Step {
        name: "suites",
        about: "JSON Patch, merge patch, JSON parsing, SQLite and JWTs against the binary",
        prepare: |world| setup::node(world).and_then(|()| setup::python(world)),
        command: |world| world.node("conformance/suites/run.mjs"),
        needs_binary: true,
    },
    Step {
        name: "conversations",
        about: "protocol conversations, kept as files, with the binary",
        prepare: setup::node,
        command: |world| world.node("conformance/conversations/run.mjs"),
        needs_binary: true,
    },
    Step {
        name: "autobahn",
        about: "Autobahn's fuzzing client against the WebSocket stack",
        prepare: |world| setup::node(world).and_then(|()| setup::autobahn(world)),
        command: |world| world.node("conformance/autobahn/run.mjs"),
        needs_binary: true,
    },
    Step {
        name: "clients",
        about: "third-party clients that resume behind a proxy that cuts",
        prepare: |world| {
            setup::node(world).and_then(|()| setup::python(world)).and_then(|()| setup::curl(world))
        },
        command: |world| world.node("conformance/clients/run.mjs"),
        needs_binary: true,
    },
    Step {
        name: "proxies",
        about: "names and read-only set-ups through nginx, Caddy, HAProxy and Apache as documented",
        prepare: |world| setup::node(world).and_then(|()| setup::proxies(world)),
        command: |world| world.node("conformance/proxies/run.mjs"),
        needs_binary: true,
    },
    Step {
        name: "typescript",
        about: "the TypeScript client: types, size, tests (some with the binary), and the package in an empty project",
        prepare: setup::typescript,
        command: |world| {
            let mut command = world.beside_binary("npm");
            command.args(["run", "ci", "--prefix", "clients/typescript"]);
            command
        },
        needs_binary: true,
    },
    Step {
        name: "browser",
        about: "the demo's page and the console in Chromium, and what pages of other origins can do",
        prepare: |world| setup::node(world).and_then(|()| setup::chromium(world)),
        command: |world| world.node("conformance/browser/run.mjs"),
        needs_binary: true,
    },
    Step {
        name: "examples",
        about: "examples, the documentation's samples and proxies' configurations, with a browser",
        prepare: setup::examples,
        command: |world| world.node("examples/test.mjs"),
        needs_binary: true,
    },
];

/// `build`, which also runs, unasked, before a step that needs the binary.
pub(crate) const BUILD: Step = Step {
    name: "build",
    about: "all targets, with the profile of the tests",
    // The pages are built with the binary if possible; only the steps that open them require them.
    prepare: |world| setup::web(world).or(Ok(())),
    command: |world| {
        world.cargo_locked(&["build", "--workspace", "--all-targets", "--profile", "test"], &[])
    },
    needs_binary: false,
};

fn nothing(_: &World) -> Result<(), Missing> {
    Ok(())
}

/// The steps of these names in the order of the list (all, for no names), or the first name that is
/// not a step's.
pub(crate) fn named<'a>(names: &[&'a str]) -> Result<Vec<&'static Step>, &'a str> {
    if let Some(unknown) = names.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
        return Err(unknown);
    }
    Ok(STEPS.iter().filter(|step| names.is_empty() || names.contains(&step.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_means_all_and_names_keep_the_order_of_the_list() {
        let names = |wanted: &[&str]| -> Vec<&str> {
            named(wanted).expect("these are steps").iter().map(|step| step.name).collect()
        };
        let all = [
            "fmt",
            "clippy",
            "build",
            "unit",
            "sim",
            "pages",
            "docs",
            "site",
            "fuzz",
            "suites",
            "conversations",
            "autobahn",
            "clients",
            "proxies",
            "typescript",
            "browser",
            "examples",
        ];
        assert_eq!(names(&[]), all);
        assert_eq!(names(&["clients", "fmt"]), ["fmt", "clients"]);
        assert_eq!(named(&["fmt", "clipy"]).err(), Some("clipy"));
    }
}
