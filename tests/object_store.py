"""A real S3-compatible store for tests: moto's server, which checks keys and signatures."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

_SET_UP = 3  # requests that make the user; moto checks the keys of all later ones
_POLICY = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
_STARTED = re.compile(r"Running on (http://127\.0\.0\.1:\d+)")


@dataclass(frozen=True)
class ObjectStore:
    """Where the store listens, and the keys that it accepts."""

    url: str
    key_id: str
    secret: str

    def client(self, service: str = "s3") -> Any:
        """A boto3 client."""
        import boto3

        return boto3.client(
            service, endpoint_url=self.url, region_name="us-east-1",
            aws_access_key_id=self.key_id, aws_secret_access_key=self.secret,
        )  # fmt: skip

    def objects(self, bucket: str) -> dict[str, bytes]:
        """The content of each object, by its key."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


@contextmanager
def running_object_store(log: Path) -> Iterator[ObjectStore]:
    """Start a store on a free port and stop it at the end; skip the test where moto is missing."""
    for package in ("moto", "boto3"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (pip install 'moto[s3]')")
    with log.open("w") as output:
        server = subprocess.Popen(
            [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", "0"],
            stdout=output, stderr=subprocess.STDOUT,
            env={**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(_SET_UP)},
        )  # fmt: skip
    try:
        deadline = time.monotonic() + 120
        while not (started := _STARTED.search(log.read_text())):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        iam = ObjectStore(started[1], "nobody", "nothing").client("iam")
        iam.create_user(UserName="mlflow")
        document = json.dumps({"Version": "2012-10-17", "Statement": [_POLICY]})
        iam.put_user_policy(UserName="mlflow", PolicyName="s3", PolicyDocument=document)
        key = iam.create_access_key(UserName="mlflow")["AccessKey"]
        yield ObjectStore(started[1], key["AccessKeyId"], key["SecretAccessKey"])
    finally:
        server.kill()
        server.wait()
