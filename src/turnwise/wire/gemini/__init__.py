"""Google Gemini and Vertex AI: `generateContent`."""
