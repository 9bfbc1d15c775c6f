"""Everything that the account answers itself: the tables at the end of the other files of this folder, joined."""

from local_account.account.dispatch import Handlers
from local_account.sql import context_functions, packages, stage_files
from local_account.sql.statement_shapes import Statement, StatementTable
from local_account.statements import (
    bundles,
    columns,
    copy_into_stage,
    copy_into_table,
    describe,
    experiments,
    functions,
    grants,
    infer_schema,
    inference_jobs,
    models,
    objects,
    services,
    session_control,
    show,
    stages,
    tables,
)
from local_account.statements.jobs import job_rows, job_services, ml_jobs

IN_ORDER = (grants, objects, show, stages, bundles, copy_into_stage, columns, describe, tables, copy_into_table,
            experiments, functions, models, inference_jobs, job_services, infer_schema, services,
            session_control)  # fmt: skip
STATEMENTS: list[Statement] = [entry for module in IN_ORDER for entry in module.STATEMENTS]
HANDLERS = Handlers(
    match=StatementTable(STATEMENTS).match,
    create=tables.create_table_or_view,
    user_function=functions.user_function,
    calls=context_functions.CALLS | stage_files.CALLS | models.CALLS | services.CALLS,
    system_functions=context_functions.SYSTEM_FUNCTIONS
    | packages.SYSTEM_FUNCTIONS
    | experiments.SYSTEM_FUNCTIONS
    | services.SYSTEM_FUNCTIONS
    | ml_jobs.SYSTEM_FUNCTIONS,
    table_functions=experiments.TABLE_FUNCTIONS | job_rows.TABLE_FUNCTIONS,
    lateral_functions=models.LATERAL_FUNCTIONS,
    before_removal=objects.BEFORE_REMOVAL | stages.BEFORE_REMOVAL | services.BEFORE_REMOVAL,
    shown=show.SHOWN | bundles.SHOWN | functions.SHOWN | models.SHOWN | services.SHOWN,
)
