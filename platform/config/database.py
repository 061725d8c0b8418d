"""Django's database settings, from DATABASE_URL."""

from psycopg.conninfo import conninfo_to_dict

from config import env

# Pages sum many rows into few groups, which the planner can't know: with enough memory for a hash
# table it avoids a sort (measured: half the time). JIT compilation takes longer than it saves.
PLANNER = "-c work_mem=16MB -c jit=off"


def database_of(url: str) -> dict[str, object]:
    """Return Django's settings for a PostgreSQL connection string.

    It is parsed by libpq, as for the gateway's connections, so that both reach the same server
    whether the string names a host, a socket's folder or several hosts. (dj-database-url 3.1
    refuses several hosts, and leaves `host` and `user` of a query in OPTIONS.) Raise
    psycopg.ProgrammingError for a string that libpq would refuse.
    """
    options: dict[str, object] = dict(conninfo_to_dict(url))
    options["options"] = f"{PLANNER} {options.get('options', '')}".strip()
    # A pool, because with CONN_MAX_AGE each of Django's threads keeps its connection after use
    # (measured: 414 errors of "too many clients" under load).
    options["pool"] = {
        "min_size": 1,
        "max_size": env.integer("DATABASE_POOL_SIZE", 8),
        "timeout": 5,
    }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": options.pop("dbname", "tollgate"),
        "USER": options.pop("user", ""),
        "PASSWORD": options.pop("password", ""),
        "HOST": options.pop("host", ""),
        "PORT": options.pop("port", ""),
        "CONN_MAX_AGE": 0,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
    }
