//! Containers with a `command`: its output, its end, and what becomes of its children.

use super::support::eventually;
use super::support::leftovers::marked_processes;
use super::support::switch::Switch;
use super::support::user::User;

scenarios! {
    by_commands: [
        output_is_prefixed_with_the_name,
        exit_codes_are_kept,
        the_exit_code_of_one_decides,
        a_signal_becomes_an_exit_code,
        a_command_that_does_not_exist,
        a_file_that_is_no_program,
        a_container_without_the_command_asked_for,
        grandchildren_are_ended_too,
        environment_and_namespaces_of_a_command,
    ],
}

fn output_is_prefixed_with_the_name(user: User) {
    let text = r#"
        [networks.lan]
        [containers.a]
        networks = ["lan"]
        command = ["sh", "-c", "echo one; echo two >&2; printf three; sleep 1000"]
        [containers.longer]
        networks = ["lan"]
        command = ["sh", "-c", "sleep 1000 & echo last words"]
    "#;
    let switch = Switch::start(user, text);
    eventually("the lines are there", || {
        let printed = switch.stdout();
        let lines: Vec<_> = printed.lines().collect();
        ["a      | one", "a      | two", "longer | last words"]
            .iter()
            .all(|line| lines.contains(line))
            .then_some(())
    });
    let ended = switch.stop();
    // What had no line end is printed when the command ends.
    assert!(ended.stdout.lines().any(|line| line == "a      | three"), "{}", ended.stdout);
}

fn exit_codes_are_kept(user: User) {
    let text = r#"
        [networks.lan]
        [containers.good]
        networks = ["lan"]
        command = ["true"]
        [containers.bad]
        networks = ["lan"]
        command = ["sh", "-c", "exit 7"]
        [containers.long]
        networks = ["lan"]
        command = ["sleep", "1000"]
    "#;
    let switch = Switch::start(user, text);
    let of = |name| switch.json(&["container", "inspect", name]);
    eventually("they ended", || (of("good")["exit_code"] == 0 && of("bad")["exit_code"] == 7).then_some(()));
    assert_eq!(of("bad")["pid"], serde_json::Value::Null);
    assert!(of("long")["pid"].is_u64() && of("long")["exit_code"].is_null());
    // The container outlives its command.
    assert_eq!(of("bad")["state"], "up");
    let table = switch.says(&["container", "ls"]);
    assert!(table.contains("exited (7)") && table.contains("running, pid"), "{table}");
    switch.stop();
}

fn the_exit_code_of_one_decides(user: User) {
    for code in [0, 3] {
        let text = format!(
            r#"
            [networks.lan]
            [containers.main]
            networks = ["lan"]
            command = ["sh", "-c", "echo done; exit {code}"]
            [containers.side]
            networks = ["lan"]
            command = ["sleep", "1000"]
            "#
        );
        let ended = Switch::launch(user, &text, &["--exit-code-from", "main"]).ended();
        assert_eq!(ended.status.code(), Some(code), "{}", ended.stderr);
        assert!(ended.stdout.contains("main | done\n"), "{}", ended.stdout);
    }
}

fn a_signal_becomes_an_exit_code(user: User) {
    let text = "[networks.lan]\n[containers.main]\nnetworks = [\"lan\"]\ncommand = [\"sh\", \"-c\", \"kill -KILL $$\"]";
    let ended = Switch::launch(user, text, &["--exit-code-from", "main"]).ended();
    assert_eq!(ended.status.code(), Some(128 + 9), "{}", ended.stderr);
}

fn a_command_that_does_not_exist(user: User) {
    let text = r#"
        [networks.lan]
        [containers.typo]
        networks = ["lan"]
        command = ["no-such-program-anywhere"]
        [containers.other]
        networks = ["lan"]
    "#;
    // Others run on without it.
    let switch = Switch::start(user, text);
    eventually("its end is known", || {
        (switch.json(&["container", "inspect", "typo"])["exit_code"] == 127).then_some(())
    });
    assert!(switch.stderr().contains("no-such-program-anywhere"), "{}", switch.stderr());
    assert_eq!(switch.says(&["exec", "other", "--", "echo", "here"]), "here\n");
    switch.stop();

    let ended = Switch::launch(user, text, &["--exit-code-from", "typo"]).ended();
    assert_eq!(ended.status.code(), Some(127), "{}", ended.stderr);
}

fn a_file_that_is_no_program(user: User) {
    let text = "[networks.lan]\n[containers.file]\nnetworks = [\"lan\"]\ncommand = [\"/etc/passwd\"]";
    let ended = Switch::launch(user, text, &["--exit-code-from", "file"]).ended();
    assert_eq!(ended.status.code(), Some(126), "{}", ended.stderr);
}

fn a_container_without_the_command_asked_for(user: User) {
    let text = "[networks.lan]\n[containers.quiet]\nnetworks = [\"lan\"]";
    for name in ["quiet", "nobody"] {
        let ended = Switch::launch(user, text, &["--exit-code-from", name]).ended();
        assert_eq!(ended.status.code(), Some(1));
        assert!(ended.stderr.contains(name) && ended.stderr.contains("--exit-code-from"), "{}", ended.stderr);
    }
}

/// Also those that left their session, and whose parents are gone.
fn grandchildren_are_ended_too(user: User) {
    let text = r#"
        [networks.lan]
        [containers.father]
        networks = ["lan"]
        command = ["sh", "-c", "(setsid sh -c 'sleep 2001 & sleep 2002' &); setsid sleep 2003 & exit 0"]
    "#;
    let switch = Switch::start(user, text);
    eventually("the grandchildren are there, and their father is not", || {
        let running = marked_processes(switch.place.name());
        let all = (2001..=2003)
            .all(|time| running.iter().any(|(_, command)| command.trim_end() == format!("sleep {time}")));
        (all && switch.json(&["container", "inspect", "father"])["exit_code"] == 0).then_some(())
    });
    // Asserts that none of them is left.
    let ended = switch.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.stderr);
}

fn environment_and_namespaces_of_a_command(user: User) {
    let text = r#"
        [networks.lan]
        [containers.here]
        networks = ["lan"]
        environment = { GREETING = "good day", PATH_TO = "a=b" }
        command = ["sh", "-c", "echo $GREETING, $PATH_TO; hostname; cat /etc/hostname; readlink /proc/self/ns/net"]
    "#;
    let switch = Switch::start(user, text);
    let lines = eventually("four lines", || {
        let printed = switch.stdout();
        let lines: Vec<_> =
            printed.lines().map(|line| line.trim_start_matches("here | ").to_owned()).collect();
        (lines.len() == 4).then_some(lines)
    });
    assert_eq!(lines[..3], ["good day, a=b", "here", "here"]);
    assert_eq!(lines[3], switch.says(&["exec", "here", "--", "readlink", "/proc/self/ns/net"]).trim_end());
    assert_eq!(switch.says(&["exec", "here", "--", "sh", "-c", "echo $GREETING"]), "good day\n");
    switch.stop();
}
