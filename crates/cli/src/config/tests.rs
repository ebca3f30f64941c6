//! Tests of reading the configuration file, and of its errors.

use super::*;

const LOOPBACK: &str = "127.0.0.1:7070";
const EVERYWHERE: &str = "0.0.0.0:7070";

/// Options from a file for a server that listens at `listen`.
#[track_caller]
fn check(text: &str, listen: &str, expect: &str) {
    let said = match parse(text) {
        Ok(config) => {
            let options = config.options(Asked::default(), listen.parse().unwrap()).unwrap();
            format!(
                "{:?} {:?} {:?} {}",
                config.listen, options.cors, options.hosts, options.read_only
            )
        }
        Err(failure) => format!("{failure:?}"),
    };
    assert!(said.contains(expect), "{said}");
}

/// The error of a file, with its hint.
#[track_caller]
fn error(text: &str) -> String {
    let failure = parse(text).err().unwrap_or_else(|| panic!("it is accepted: {text}"));
    format!("{failure:?}").replace("\\\"", "\"")
}

#[test]
fn the_example_lists_every_setting_with_its_default() {
    let text = include_str!("../../../../halfping.example.toml");
    let config: Config = toml::from_str(text).unwrap();
    assert_eq!((config.limits, config.listen), (Limits::default(), LOOPBACK.parse().ok()));
    assert_eq!(config.data, Some(crate::storage::DATA.into()));
    let names = text.lines().filter(|line| !line.starts_with('#') && line.contains(" = ")).count();
    let debug = format!("{:?}", Limits::default());
    assert_eq!(
        names,
        debug.matches(": ").count() + ["listen", "data", "read_only", "open", "ephemeral"].len()
    );
    // A default that depends on the address is commented out in the example.
    for commented in ["# origins = [", "# enabled = false", "# allowed_hosts = ["] {
        assert!(text.contains(commented), "{commented}");
    }
}

#[test]
fn a_file_may_be_empty_or_full() {
    check("", LOOPBACK, "None Loopback ByAddress false");
    check("", "[::ffff:127.0.0.1]:1", "None Loopback");
    check("", EVERYWHERE, "None None ByAddress false");
    check(
        "allowed_hosts = [\"a.example\", \"[::2]\"]",
        LOOPBACK,
        "Named([\"a.example\", \"[::2]\"])",
    );
    check("allowed_hosts = [\"*\"]\nread_only = true", LOOPBACK, "Loopback Any true");
    check("listen = \"127.0.0.1:80\"\n[limits]\n", EVERYWHERE, "Some(127.0.0.1:80) None");
    check("[cors]\norigins = []", LOOPBACK, "None None");
    for any in ["*", "any"] {
        check(&format!("[cors]\norigins = [\"{any}\"]"), EVERYWHERE, "None Any");
        check(&format!("allowed_hosts = [\"{any}\"]"), LOOPBACK, "Loopback Any");
    }
    check("[cors]\norigins = [\"https://a\"]", LOOPBACK, "Origins([\"https://a\"])");
}

#[test]
fn the_command_line_wins_over_the_file() {
    let file = "listen = \"127.0.0.1:80\"\n[limits]\nbody_bytes = 10\nuri_bytes = 11";
    let limits =
        [("body_bytes".to_owned(), "20".to_owned()), ("ping_ms".to_owned(), "30ms".to_owned())];
    let Config { limits, listen, .. } =
        parse(file).ok().unwrap().with_limits(&limits).ok().unwrap();
    assert_eq!((limits.body_bytes, limits.uri_bytes, limits.ping_ms), (20, 11, 30));
    assert!(listen.is_some());
    for (name, value, says) in [
        ("speed", "1", "unknown setting `speed`"),
        ("body_bytes", "0", "limits.body_bytes must be at least 1"),
    ] {
        let limits = [(name.to_owned(), value.to_owned())];
        let why = Config::default().with_limits(&limits).err().unwrap();
        assert!(why.message().contains(says), "{why:?}");
    }
}

#[test]
fn a_limit_that_tightens_paths_drops_no_ephemeral_region() {
    let config = || parse("[regions]\nephemeral = [\"/a/*/c\", \"/much_longer\"]").ok().unwrap();
    let with =
        |name: &str, value: &str| config().with_limits(&[(name.to_owned(), value.to_owned())]);
    assert_eq!(with("path_depth", "3").ok().unwrap().ephemeral().len(), 2);
    for (name, value) in [("path_depth", "2"), ("key_bytes", "8")] {
        let why = with(name, value).err().unwrap();
        assert!(why.message().contains("regions.ephemeral: `/"), "{why:?}");
    }
    check(
        "[limits]\npath_depth = 1\n[regions]\nephemeral = [\"/a/b\"]",
        LOOPBACK,
        "`/a/b` is not a pattern",
    );
}

#[test]
fn sizes_and_times_have_units_and_a_port_is_an_address() {
    let text =
        "listen = 7071\n[limits]\nbody_bytes = \"5MB\" # so many\ndrain_ms = \"2s\"\nlinks = \"7\"";
    let Config { limits, listen, .. } = parse(text).ok().unwrap();
    assert_eq!((limits.body_bytes, limits.drain_ms, limits.links), (5_000_000, 2000, 7));
    assert_eq!(listen, "127.0.0.1:7071".parse().ok());
    check("listen = \"7071\"", LOOPBACK, "Some(127.0.0.1:7071)");
    check("listen = 70710", LOOPBACK, "line 1 (`listen = 70710`)");
    check(
        "\n[limits]\nbody_bytes = \"5s\"",
        LOOPBACK,
        "line 3 (`body_bytes = \\\"5s\\\"`): the value of",
    );
}

#[test]
fn a_section_that_is_written_as_a_value_is_told_how_it_is_written() {
    for (text, line) in [
        ("cors = [\"any\"]", "origins = [\\\"any\\\"]"),
        ("cors = \"https://a.example\"", "origins = [\\\"https://a.example\\\"]"),
        ("console = true", "enabled = true"),
        ("console = \"off\"", "enabled = false"),
        ("limits = 5", "body_bytes"),
        ("regions = []", "ephemeral"),
        ("[[cors]]\norigins = []", "origins"),
    ] {
        check(text, LOOPBACK, " is a section");
        check(text, LOOPBACK, &format!("and on the line below it {line}"));
    }
    check("\n\ncors = [\"any\"]", LOOPBACK, "line 3 (`cors = [\\\"any\\\"]`): `cors` is");
}

#[test]
fn a_name_that_is_almost_known_or_in_another_section_has_a_hint() {
    check("[limits]\nbody_byte = 1", LOOPBACK, "did you mean `body_bytes`?");
    check("[limits]\nbody-bytes = 1", LOOPBACK, "did you mean `body_bytes`?");
    check("Listen = 1", LOOPBACK, "did you mean `listen`?");
    check("[cors]\norigin = []", LOOPBACK, "did you mean `origins`?");
    check("[limit]\nbody_bytes = 1", LOOPBACK, "did you mean `limits`?");
    check("[[views]]\npath = \"/x\"", LOOPBACK, "did you mean `[[view]]`?");
    check("[veiw]\npath = \"/x\"", LOOPBACK, "did you mean `[[view]]`?");
    check("views = 5", LOOPBACK, "`views` stands in [limits]");
    check("body_bytes = 1", LOOPBACK, "`body_bytes` stands in [limits]");
    check("[limits]\nlisten = 1", LOOPBACK, "`listen` stands before the first [section]");
    check("[limits]\norigins = []", LOOPBACK, "`origins` stands in [cors]");
    check("port = 7171", LOOPBACK, "a port is written `listen = 7171`");
    check("memory = true", LOOPBACK, "--memory");
    check("log-format = \"json\"", LOOPBACK, "--log-format");
}

#[test]
fn a_misspelt_limit_with_a_unit_is_told_its_name_and_not_its_value() {
    for value in ["\"1MB\"", "\"30s\"", "\"x\"", "1"] {
        let text = format!("[limits]\nbody_byte = {value}");
        check(&text, LOOPBACK, "unknown setting `body_byte`");
        check(&text, LOOPBACK, "did you mean `body_bytes`?");
        let limit = ("body_byte".to_owned(), value.trim_matches('"').to_owned());
        let why = Config::default().with_limits(&[limit]).err().unwrap();
        assert!(why.message().ends_with("unknown setting `body_byte`"), "{why:?}");
        assert!(format!("{why:?}").contains("did you mean `body_bytes`?"), "{why:?}");
    }
}

#[test]
fn a_view_that_cannot_be_is_named_with_its_line_and_column() {
    // PROTOCOL Q16
    let first = "[[view]]\npath = \"/top\"\nfrom = \"/v\"\nlimit = 20\n";
    check(first, LOOPBACK, "None Loopback");
    check(
        &format!("{first}[[view]]\npath = \"/n\"\nfrom = \"/v\"\ncount = true"),
        LOOPBACK,
        "None",
    );
    for (more, says) in [
        (
            "order = \"-\"",
            "line 5 (`order = \"-\"`): view[0].order: the view /top: 'order', column 2: ",
        ),
        (
            "where = \"n >\"",
            "line 5 (`where = \"n >\"`): view[0].where: the view /top: 'where', column 4",
        ),
        ("count = true", "line 2 (`path = \"/top\"`): view[0].path: the view /top: 'count'"),
        (
            "[[view]]\npath = \"/top/x\"\nfrom = \"/v\"",
            "line 6 (`path = \"/top/x\"`): view[1].path: the view /top/x: 'path': there is a view at /top",
        ),
        ("[[view]]\npath = \"/x\"\nfrom = \"/top\"", "line 7 (`from = \"/top\"`)"),
        ("[[view]]\npath = \"/x\"", "missing field `from`"),
        ("[[view]]\npath = \"/x\"\nfrom = \"/v\"\nordr = \"n\"", "did you mean `order`?"),
        ("[[view]]\npath = \"/x\"\nfrom = \"/v\"\nlimit = \"20\"", "write limit = 20"),
        ("[[view]]\npath = \"/x\"\nfrom = \"/v\"\norder = speed", "write order = \"speed\""),
        ("[limits]\nwindow_members = 19", "at most 19"),
    ] {
        let said = error(&format!("{first}{more}"));
        assert!(said.contains(says), "{more}: {said}");
    }
    for (text, says) in [
        ("[view]\npath = \"/top\"", "write [[view]], and on the line below it path = \"/fastest\""),
        ("view = 1", "`view` is a section for each"),
        ("order = \"-speed\"", "`order` stands in [[view]]"),
    ] {
        assert!(error(text).contains(says), "{text}: {}", error(text));
    }
}

#[test]
fn who_is_let_in_is_written_so_that_it_can_match() {
    let origins = |list: &str| format!("[cors]\norigins = [{list}]");
    let hosts = |list: &str| format!("allowed_hosts = [{list}]");
    check(&origins("\"HTTPS://X.org\", \"https://z.org:443\""), LOOPBACK, "Origins");
    for (list, says) in [
        ("\"https://*.y.org\"", "patterns"),
        ("\"*\", \"https://a\"", "stands alone"),
        ("\"none\"", "[]"),
        ("\"any\", \"https://a\"", "stands alone"),
        ("\"a.example\"", "is not an origin"),
    ] {
        check(&origins(list), LOOPBACK, says);
    }
    for (list, says) in [
        ("\"*.y.org\"", "patterns"),
        ("\"*\", \"a\"", "stands alone"),
        ("\"https://a\"", "scheme"),
        ("\"any\", \"a\"", "stands alone"),
    ] {
        check(&hosts(list), LOOPBACK, says);
    }
}

#[test]
fn who_is_let_in_is_first_what_the_command_line_says() {
    let file = "allowed_hosts = [\"a\"]\n[cors]\norigins = [\"https://a\"]";
    let options = |text: &str, cors: &[&str], hosts: &[&str], read_only| {
        let owned =
            |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let asked = Asked {
            cors: &owned(cors),
            hosts: &owned(hosts),
            console: None,
            read_only,
            open: false,
        };
        parse(text).ok().unwrap().options(asked, LOOPBACK.parse().unwrap()).unwrap()
    };
    let Options { cors, hosts, read_only, .. } = options(file, &["*"], &["b"], true);
    assert_eq!((cors, hosts, read_only), (Cors::Any, Hosts::Named(vec!["b".to_owned()]), true));
    let Options { cors, hosts, .. } = options(file, &[], &["*"], false);
    assert_eq!((cors, hosts), (Cors::Origins(vec!["https://a".to_owned()]), Hosts::Any));
    assert_eq!(options(file, &["none"], &[], false).cors, Cors::None);
    // Leaving out the option does not undo the file's setting.
    assert!(options("read_only = true", &[], &[], false).read_only);
}

#[test]
fn the_console_is_open_on_loopback_unless_somebody_says_otherwise() {
    let console = |text: &str, asked, listen: &str| {
        let asked = Asked { console: asked, ..Asked::default() };
        parse(text).ok().unwrap().options(asked, listen.parse().unwrap()).unwrap().console
    };
    let (on, off) = ("[console]\nenabled = true", "[console]\nenabled = false");
    assert_eq!(console("", None, LOOPBACK), Console::Loopback);
    assert_eq!(console("[console]", None, "[::1]:0"), Console::Loopback);
    assert_eq!(console("", None, EVERYWHERE), Console::Off);
    assert_eq!(console(on, None, EVERYWHERE), Console::On);
    assert_eq!(console(on, None, LOOPBACK), Console::On);
    assert_eq!(console(off, None, LOOPBACK), Console::Off);
    assert_eq!(console(off, Some(true), EVERYWHERE), Console::On);
    assert_eq!(console(on, Some(false), LOOPBACK), Console::Off);
}

#[test]
fn a_mistake_is_told_with_its_line_and_what_to_write() {
    for (text, says, and) in [
        ("\n\nlisten = true", "line 3 (`listen = true`)", "`listen` is an address and a port"),
        ("[cors]\norigin = 1", "line 2 (`origin = 1`)", "unknown setting `origin`"),
        ("[limits]\nspeed = 1", "line 2 (`speed = 1`)", "unknown setting `speed`"),
        (
            "[limits]\n\nbody_bytes = 0",
            "line 3 (`body_bytes = 0`)",
            "limits.body_bytes must be at least 1",
        ),
        (
            "limits.slice_bytes = 10",
            "line 1 (`limits.slice_bytes = 10`)",
            "between 1024 and 16777216, not 10",
        ),
        ("[cors]\norigins = [\"https://a/\"]", "line 2 (", "`https://a/` is not an origin"),
        ("\nallowed_hosts = [\"a:80\"]", "line 2 (", "`a:80` is not the name of a host"),
        ("[regions]\nephemeral = [\"a\"]", "line 2 (", "regions.ephemeral: `a` is not a pattern"),
        ("[console]\nenabled = 1", "line 2 (`enabled = 1`)", "`enabled` is true or false"),
        ("data = \"\"", "line 1 (", "data: it names no directory"),
        ("listen = ", "line 1 (`listen =`)", ""),
        ("listen = 1\nlisten = 2", "line 2 (`listen = 2`)", "duplicate key"),
        ("listen = 1\nhello", "line 2 (`hello`)", ""),
        ("read_only = yes", "`read_only` is true or false, without quotes", "read_only = true"),
        ("read_only = \"no\" # as it was", "`read_only` is true or false", "read_only = false"),
        (
            "[cors]\norigins = \"https://a\"",
            "`origins` is a list of origins",
            "origins = [\"https://a\"]",
        ),
        (
            "cors.origins = 1",
            "`origins` is a list of origins",
            "origins = [\"https://app.example.org\"]",
        ),
        (
            "allowed_hosts = a.example",
            "`allowed_hosts` is a list of host names",
            "[\"api.example.org\"]",
        ),
        ("data = /var/lib/x", "`data` is a directory, as text in quotes", "data = \"/var/lib/x\""),
        (
            "listen = 127.0.0.1:80",
            "`listen` is an address and a port",
            "listen = \"127.0.0.1:7070\"",
        ),
        (
            "listen = \"localhost:80\"",
            "`listen` is an address and a port",
            "listen = \"127.0.0.1:7070\"",
        ),
        (
            "[limits]\nwait_seconds = 1m",
            "`wait_seconds` is a number of seconds, or a time of whole seconds",
            "wait_seconds = \"30s\"",
        ),
        (
            "[limits]\nconnections = [5]",
            "`connections` is a number without a unit",
            "connections = 1000",
        ),
        ("[limits]\nwrites_per_second = 99999999999", "invalid value", "writes_per_second = 1000"),
        ("allowed_hosts = [\"https://b.example:80/x\"]", "write \"b.example\"", ""),
        ("allowed_hosts = [\"b.example:80\"]", "write \"b.example\"", ""),
        ("[cors]\norigins = [\"b.example:81\"]", "write \"https://b.example:81\"", ""),
        ("[cors]\norigins = [\"http://b.example/app/\"]", "write \"http://b.example\"", ""),
        (
            "[limits]\nwait_seconds = \"soon\"",
            "a time of whole seconds in ms, s, m, min, h or d",
            "line 2",
        ),
        (
            "[limits]\nbuffered_bytes = 100000",
            "at most limits.buffered_bytes, 100000",
            "line 2 (`buffered_bytes = 100000`)",
        ),
        ("[limits]\nheads_bytes_per_connection = \"1GB\"", "at most limits.heads_bytes,", "line 2"),
        (
            "[limits]\ndrain_ms = \"1 fortnight\"",
            "a time in ms, s, m, min, h or d, such as 30s",
            "line 2",
        ),
        (
            "[cors]\norigins = \"x\"",
            "`origins` is a list of origins",
            "write origins = [\"https://x\"]",
        ),
        ("cors = \"x\"", "`cors` is a section", "below it origins = [\"https://x\"]"),
        (
            "allowed_hosts = \"https://b.example:80/\"",
            "`allowed_hosts` is a list",
            "write allowed_hosts = [\"b.example\"]",
        ),
        ("[regions]\nephemeral = \"a/b\"", "`ephemeral` is a list", "write ephemeral = [\"/a/b\"]"),
    ] {
        let said = error(text);
        assert!(said.contains(says) && said.contains(and), "{text}: {said}");
    }
}

/// Values that somebody may write for a setting by mistake.
const WRONG: [&str; 24] = [
    "x",
    "\"x\"",
    "\"\"",
    "\"a b\"",
    "\"https://*.y.org\"",
    "\"https://b.example:80/x\"",
    "\"b.example:81\"",
    "\"none\"",
    "\"any\"",
    "\"1 fortnight\"",
    "'x'",
    "[5]",
    "[\"x\"]",
    "[\"*\", \"x\"]",
    "[\"a/b\", \"/c\"]",
    "[\"x\"",
    "[]",
    "{}",
    "5",
    "-5",
    "99999999999999999999",
    "1.5",
    "yes",
    "/var/lib/x # as it was",
];

/// The suggestions in an error: lines of a file, or values in quotes.
fn suggestions(said: &str) -> Option<&str> {
    let (_, rest) = said.split_once("write ")?;
    Some(rest.split_once("below it ").map_or(rest, |(_, line)| line).trim_end_matches("\") }"))
}

/// A view with this line, and with what it needs besides.
fn in_view(line: &str) -> String {
    let name = line.split(' ').next().unwrap();
    let needed = ["path = \"/a\"", "from = \"/b\""].into_iter();
    let needed = needed.chain((name == "order").then_some("limit = 20"));
    let others = needed.filter(|other| !other.starts_with(name)).collect::<Vec<_>>();
    format!("[[view]]\n{line}\n{}", others.join("\n"))
}

#[test]
fn what_a_hint_says_to_write_is_accepted() {
    let limits = serde_json::to_value(Limits::default()).unwrap();
    let limits = limits.as_object().unwrap().keys().map(|name| ("limits", name.as_str()));
    let settings = hints::SECTIONS
        .iter()
        .flat_map(|section| section.settings.iter().map(|setting| (section.name, setting.name)));
    let mut followed = 0;
    for (section, name) in settings.chain(limits) {
        for value in WRONG {
            let in_section = |line: &str| match section {
                "" => line.to_owned(),
                "view" => in_view(line),
                "rule" => format!("[[rule]]\n{line}"),
                section => format!("[{section}]\n{line}"),
            };
            let text = in_section(&format!("{name} = {value}"));
            let Err(failure) = parse(&text) else { continue };
            let said = format!("{failure:?}").replace("\\\"", "\"");
            let Some(write) = suggestions(&said) else { continue };
            let line = match write.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                Some((value, _)) => format!("{name} = [\"{value}\"]"),
                None => write.to_owned(),
            };
            let again = parse(&in_section(&line));
            assert!(again.is_ok(), "{text}: {said}; but {line}: {:?}", again.err());
            followed += 1;
        }
    }
    for section in hints::SECTIONS.iter().filter(|section| !section.name.is_empty()) {
        for value in WRONG {
            let text = format!("{} = {value}", section.name);
            let Err(failure) = parse(&text) else { continue };
            let said = format!("{failure:?}").replace("\\\"", "\"");
            let Some(line) = suggestions(&said) else { continue };
            let again = match section.name {
                "view" => parse(&in_view(line)),
                "rule" => parse(&format!("[[rule]]\n{line}")),
                name => parse(&format!("[{name}]\n{line}")),
            };
            assert!(again.is_ok(), "{text}: {said}; but {line}: {:?}", again.err());
            followed += 1;
        }
    }
    assert!(followed > 500, "{followed}");
}

#[test]
fn an_unknown_name_lists_a_few_others_at_most() {
    for (text, hint) in [
        ("[limits]\nspeed = 1", "halfping.example.toml has all of them"),
        ("[cors]\nport = 1", "known here: origins"),
        ("xyzzy = 1", "known here: listen, data,"),
    ] {
        check(text, LOOPBACK, hint);
        let Err(why) = parse(text) else { panic!("{text}") };
        assert!(!why.message().contains("expected"), "{why:?}");
    }
}
