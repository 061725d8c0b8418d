"""The MCP server at `/mcp`: what an agent may ask about its own key or team, as tools."""
