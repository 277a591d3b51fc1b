"""One act of the official SDK for each line that same-request.test.ts compares."""

import os
import uuid

from databricks.sdk import WorkspaceClient
from databricks.sdk.service import database, postgres
from google.protobuf.duration_pb2 import Duration

production = "projects/demo/branches/production"
w = WorkspaceClient()
w.current_user.me()
w.database.get_database_instance("demo-instance")
w.database.generate_database_credential(request_id=str(uuid.uuid4()), instance_names=["demo-instance"])
w.postgres.get_endpoint(f"{production}/endpoints/primary")
w.postgres.generate_database_credential(endpoint=f"{production}/endpoints/primary")
if "DATABRICKS_CLIENT_ID" not in os.environ:
    stopped = database.DatabaseInstance(name="stopped-instance", stopped=False)
    w.database.update_database_instance("stopped-instance", stopped, "stopped")
    spec = postgres.BranchSpec(source_branch=production, ttl=Duration(seconds=7200))
    w.postgres.create_branch("projects/demo", postgres.Branch(spec=spec), "by-sdk")
