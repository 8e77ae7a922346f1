//! Databases of files: read again when they change, never half, never lost.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::internet::Internet;
use crate::support::mmdb;
use crate::support::process::Process;
use crate::support::wait_until;

const LIMIT: Duration = Duration::from_secs(15);

/// Puts a file in place as a careful writer does: under another name, then renamed over.
fn replace(path: &Path, text: impl AsRef<[u8]>) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn csv(owner: &str) -> String {
    format!("Registry,Assignment,Organization Name,Organization Address\r\nMA-L,68B599,\"{owner}\",x\r\n")
}

fn metric(net: &Internet, series: &str) -> String {
    let text = net.get("/metrics").body;
    let line = text.lines().find(|line| line.starts_with(series)).unwrap_or_else(|| panic!("no {series} in\n{text}"));
    line.rsplit(' ').next().unwrap().to_owned()
}

fn vendor(net: &Internet) -> String {
    net.get("/lookup?mac=68b5.99fc.d1df").body.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn changed_files_are_read_again_and_broken_ones_are_not() {
    let net = Internet::new("reload");
    let (vendors, networks, geo) = (net.file("oui.csv"), net.file("networks.txt"), net.file("geo.mmdb"));
    fs::write(&vendors, csv("First, Inc.")).unwrap();
    fs::write(&networks, "10.0.0.0/8 all\n10.1.0.0/16 office\n").unwrap();
    let place = |city: &str| {
        mmdb::database(
            "GeoLite2-City",
            &[("9.9.9.0/24", json!({"city": {"names": {"en": city}}, "country": {"iso_code": "CH"}}))],
        )
    };
    fs::write(&geo, place("Zürich")).unwrap();
    let flag = |path: &Path| path.to_str().unwrap().to_owned();
    let service = net.serve(&[
        "--offline",
        "--client-rate",
        "0",
        "--vendors",
        &flag(&vendors),
        "--networks",
        &flag(&networks),
        "--geo",
        &flag(&geo),
    ]);
    assert_eq!(vendor(&net), "First, Inc.");
    let answer = net.ask("ip=10.1.2.3").json();
    let names: Vec<&str> = answer["networks"].as_array().unwrap().iter().map(|n| n["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["office", "all"], "all of them, the longest first");
    let city = |net: &Internet| net.ask("ip=9.9.9.9").json()["geo"]["city"].as_str().unwrap_or_default().to_owned();
    assert_eq!(city(&net), "Zürich");

    replace(&vendors, csv("Second"));
    replace(&networks, "10.1.2.0/24 desk\n");
    replace(&geo, place("Genève"));
    wait_until(LIMIT, "the new files", || {
        vendor(&net) == "Second"
            && city(&net) == "Genève"
            && net.ask("ip=10.1.2.3").json()["networks"][0]["name"] == "desk"
    });

    replace(&geo, b"rubbish");
    replace(&vendors, "rubbish\n");
    replace(&networks, "not a prefix\n");
    wait_until(LIMIT, "three failures", || {
        ["geo", "vendors", "networks"].iter().all(|name| {
            metric(&net, &format!("vipkeeper_lookup_database_loads_total{{database=\"{name}\",result=\"failed\"}}"))
                == "1"
        })
    });
    assert!(service.output().contains("networks.txt: line 1"), "{}", service.output());
    assert_eq!((vendor(&net).as_str(), city(&net).as_str()), ("Second", "Genève"), "what was read before stays");

    fs::write(&vendors, csv("In place")).unwrap();
    wait_until(LIMIT, "a file written in place", || vendor(&net) == "In place");
    fs::remove_file(&vendors).unwrap();
    wait_until(LIMIT, "one more failure", || {
        metric(&net, "vipkeeper_lookup_database_loads_total{database=\"vendors\",result=\"failed\"}") == "2"
    });
    assert_eq!(vendor(&net), "In place");
}

#[test]
fn a_volume_of_kubernetes_is_swapped_by_its_link() {
    let net = Internet::new("volume");
    let volume = net.file("volume");
    for (version, owner) in [("v1", "First"), ("v2", "Second")] {
        fs::create_dir_all(volume.join(version)).unwrap();
        fs::write(volume.join(version).join("oui.csv"), csv(owner)).unwrap();
    }
    let link = |version: &str| {
        std::os::unix::fs::symlink(version, volume.join("new")).unwrap();
        fs::rename(volume.join("new"), volume.join("..data")).unwrap();
    };
    link("v1");
    std::os::unix::fs::symlink("..data/oui.csv", volume.join("oui.csv")).unwrap();
    let _service = net.serve(&["--offline", "--client-rate", "0", "--vendors", volume.to_str().unwrap()]);
    assert_eq!(vendor(&net), "First");
    link("v2");
    wait_until(LIMIT, "the second version", || vendor(&net) == "Second");
}

#[test]
fn a_file_that_is_not_what_it_should_be_stops_the_start_and_is_named() {
    let net = Internet::new("start");
    fs::write(net.file("bad"), "rubbish\n").unwrap();
    for (flag, file) in
        [("--vendors", "bad"), ("--geo", "bad"), ("--networks", "bad"), ("--geo", "absent"), ("--ca-file", "bad")]
    {
        let path = net.file(file);
        let mut command = net.command(crate::support::process::VIPKEEPER);
        command.args(["lookup", "serve", "--listen", "127.0.0.1:8080", flag]).arg(&path);
        let mut process = Process::start(&mut command);
        assert!(!process.wait(LIMIT).success());
        wait_until(LIMIT, "the reason", || {
            process.output().contains(path.to_str().unwrap()) || process.output().contains(flag)
        });
    }
}

#[test]
fn without_makers_questions_about_hardware_say_what_is_missing() {
    let net = Internet::new("nomakers");
    let empty = net.file("empty");
    fs::create_dir(&empty).unwrap();
    let _service = net.serve(&["--offline", "--vendors", empty.to_str().unwrap()]);
    let answer = net.ask("mac=68b5.99fc.d1df");
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_database"), "{answer:?}");
    assert!(answer.body.contains("ieee-data") && answer.headers.contains_key("retry-after"));
    assert_eq!(net.ask("mac=ff:ff:ff:ff:ff:ff").status, 200, "what a standard says needs no database");
    let answer = net.ask("ip=9.9.9.9");
    assert_eq!((answer.status, answer.code().as_str()), (503, "no_database"), "{answer:?}");
}
