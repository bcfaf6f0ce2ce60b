#!/usr/bin/env python3
"""A STAND-IN for the entry script of orthancteam/orthanc, in our own words: variables and secrets become a
configuration, a section that is there links its plugin."""
import errno
import json
import os
import shutil
import sys
from pathlib import Path

FILLED_IN = "MUST BE DEFINED BY YOU"
SECTIONS = {
    "AwsS3Storage": ("AWS_S3_STORAGE_PLUGIN_ENABLED", ["BucketName", "Region"]),
    "AzureBlobStorage": ("AZURE_BLOB_STORAGE_PLUGIN_ENABLED", ["ConnectionString", "ContainerName"]),
    "GoogleCloudStorage": ("GOOGLE_CLOUD_STORAGE_PLUGIN_ENABLED", ["ServiceAccountFile", "BucketName"]),
}
AVAILABLE = Path("/usr/share/orthanc/plugins-available")
FOLDERS = [Path("/run/orthanc/plugins"), Path("/usr/share/orthanc/plugins")]

configuration = {
    "StorageDirectory": "/var/lib/orthanc/db",
    "RemoteAccessAllowed": True,
    "HttpsCACertificates": "/etc/ssl/certs/ca-certificates.crt",
    "Plugins": [str(folder) for folder in FOLDERS],
}


def camel(name):
    return "".join(word.capitalize() for word in name.split("_"))


def put(variable, text):
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    *path, option = (camel(name) for name in variable.removeprefix("ORTHANC__").split("__"))
    section = configuration
    for name in path:
        section = section.setdefault(name, {})
    section[option] = value


def take(library):
    target = (FOLDERS[0] if FOLDERS[0].is_dir() else FOLDERS[1]) / library
    try:
        os.link(AVAILABLE / library, target)
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copy(AVAILABLE / library, target)


if os.environ.get("GENERATE_HOST_ID_IF_MISSING", "true") == "true":
    Path("/etc/hostid").write_text("12345678\n")
for variable, text in os.environ.items():
    if variable.startswith("ORTHANC__"):
        put(variable, text)
for secret in Path("/run/secrets").glob("ORTHANC__*"):
    put(secret.name, secret.read_text().rstrip("\n"))
for section, (switch, needed) in SECTIONS.items():
    wanted = os.environ.get(switch)
    if wanted == "false" or (wanted is None and section not in configuration):
        continue
    for option in needed:
        configuration.setdefault(section, {}).setdefault(option, FILLED_IN)
    take(f"libOrthanc{section}.so")
Path("/tmp/orthanc.json").write_text(json.dumps(configuration))
verbose = ["--verbose"] if os.environ.get("VERBOSE_ENABLED") == "true" else []
os.execvp("Orthanc", ["Orthanc", *verbose, *sys.argv[1:]])
