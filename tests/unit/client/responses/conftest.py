"""One call against a server that writes its response by hand."""

import pytest

from connix_provider.client import ConnixError

KEY = "cx_" + 4 * "fedcba98"


@pytest.fixture
async def ask(driver, raw_server):
    """Return the exception of one call whose response has these bytes, without retries."""

    async def ask(http_response, method="get", *args):
        server = raw_server(http_response)
        client = driver.open(KEY, server.url, max_attempts=1, total_timeout=10)
        with pytest.raises(ConnixError) as caught:
            await driver.run(client, method, "proj_1", *(args or ("agent_1",)))
        assert len(server.requests) == 1
        return caught.value

    return ask
