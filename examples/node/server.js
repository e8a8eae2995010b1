import express from "express";

const app = express();
const notes = ["A note from Express."];

app.use(express.json());
app.get("/", (request, response) => {
  response.json({ node: process.version, notes });
});
app.post("/", (request, response) => {
  notes.push(String(request.body.note));
  response.status(201).json({ notes });
});

const server = app.listen(3000, () => console.log(`Node.js ${process.version} listens`));
process.on("SIGTERM", () => server.close(() => process.exit(0)));
