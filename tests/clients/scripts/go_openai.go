// The Go library go-openai, chat completions.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/sashabaranov/go-openai"
)

const (
	sevenTokens = "Hello! <simulate>tokens=7</simulate>"
	long        = "Tell me everything. <simulate>tokens=3000&pace_ms=20</simulate>"
	sum         = "The sum is 5."
	add         = `What is 2 + 3? <simulate>{"turns": [{"calls": [{"name": "add", "input": {"a": 2, "b": 3}}]}, {"text": "The sum is 5."}]}</simulate>`
	citySchema  = `{"type": "object", "properties": {"name": {"type": "string"}, "population": {"type": "integer"}}, "required": ["name", "population"], "additionalProperties": false}`
	numbers     = `{"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}`
)

var (
	client = connect(os.Getenv("TOLLGATE_KEY"))
	model  = os.Getenv("TOLLGATE_MODEL")
	ctx    = context.Background()
)

func connect(key string) *openai.Client {
	config := openai.DefaultConfig(key)
	config.BaseURL = os.Getenv("TOLLGATE_URL") + "/v1"
	return openai.NewClientWithConfig(config)
}

func request(text string) openai.ChatCompletionRequest {
	message := openai.ChatCompletionMessage{Role: openai.ChatMessageRoleUser, Content: text}
	return openai.ChatCompletionRequest{Model: model, Messages: []openai.ChatCompletionMessage{message}}
}

func check(holds bool, shown any) error {
	if holds {
		return nil
	}
	return fmt.Errorf("unexpected: %+v", shown)
}

func models() error {
	list, err := client.ListModels(ctx)
	if err != nil {
		return err
	}
	for _, each := range list.Models {
		if each.ID == model {
			return nil
		}
	}
	return check(false, list)
}

func chat() error {
	answer, err := client.CreateChatCompletion(ctx, request(sevenTokens))
	if err != nil {
		return err
	}
	return check(answer.Choices[0].Message.Content != "" && answer.Usage.CompletionTokens == 7, answer)
}

func stream() error {
	asked := request(sevenTokens)
	asked.StreamOptions = &openai.StreamOptions{IncludeUsage: true}
	events, err := client.CreateChatCompletionStream(ctx, asked)
	if err != nil {
		return err
	}
	defer events.Close()
	var text strings.Builder
	tokens := 0
	for {
		chunk, err := events.Recv()
		if err != nil {
			break
		}
		for _, choice := range chunk.Choices {
			text.WriteString(choice.Delta.Content)
		}
		if chunk.Usage != nil {
			tokens = chunk.Usage.CompletionTokens
		}
	}
	return check(text.Len() > 0 && tokens == 7, tokens)
}

func tools() error {
	asked := request(add)
	function := openai.FunctionDefinition{Name: "add", Parameters: json.RawMessage(numbers)}
	asked.Tools = []openai.Tool{{Type: openai.ToolTypeFunction, Function: &function}}
	answer, err := client.CreateChatCompletion(ctx, asked)
	if err != nil {
		return err
	}
	message := answer.Choices[0].Message
	var terms struct{ A, B int }
	if err := json.Unmarshal([]byte(message.ToolCalls[0].Function.Arguments), &terms); err != nil {
		return err
	}
	result := openai.ChatCompletionMessage{
		Role:       openai.ChatMessageRoleTool,
		ToolCallID: message.ToolCalls[0].ID,
		Content:    fmt.Sprint(terms.A + terms.B),
	}
	asked.Messages = append(asked.Messages, message, result)
	answer, err = client.CreateChatCompletion(ctx, asked)
	if err != nil {
		return err
	}
	return check(answer.Choices[0].Message.Content == sum, answer)
}

func schema() error {
	asked := request("Name a city.")
	asked.ResponseFormat = &openai.ChatCompletionResponseFormat{
		Type: openai.ChatCompletionResponseFormatTypeJSONSchema,
		JSONSchema: &openai.ChatCompletionResponseFormatJSONSchema{
			Name: "city", Schema: json.RawMessage(citySchema), Strict: true,
		},
	}
	answer, err := client.CreateChatCompletion(ctx, asked)
	if err != nil {
		return err
	}
	var city struct {
		Name       *string
		Population *int
	}
	err = json.Unmarshal([]byte(answer.Choices[0].Message.Content), &city)
	return check(err == nil && city.Name != nil && city.Population != nil, answer)
}

func refusal() error {
	unknown := request("Hello!")
	unknown.Model = "no-such-model"
	_, err := client.CreateChatCompletion(ctx, unknown)
	var answer *openai.APIError
	if !errors.As(err, &answer) || answer.HTTPStatusCode != 404 {
		return check(false, err)
	}
	_, err = connect("sk-tg-" + strings.Repeat("0", 40)).ListModels(ctx)
	return check(errors.As(err, &answer) && answer.HTTPStatusCode == 401, err)
}

func cancel() error {
	events, err := client.CreateChatCompletionStream(ctx, request(long))
	if err != nil {
		return err
	}
	for range 5 {
		if _, err := events.Recv(); err != nil {
			return err
		}
	}
	return events.Close()
}

func embeddings() error {
	answer, err := client.CreateEmbeddings(ctx, openai.EmbeddingRequest{
		Model: openai.EmbeddingModel(os.Getenv("TOLLGATE_EMBEDDING_MODEL")),
		Input: []string{"one", "two"},
	})
	if err != nil {
		return err
	}
	return check(len(answer.Data) == 2 && len(answer.Data[1].Embedding) > 0, answer)
}

func main() {
	cases := []struct {
		name string
		run  func() error
	}{
		{"models", models}, {"chat", chat}, {"stream", stream}, {"tools", tools},
		{"schema", schema}, {"error", refusal}, {"cancel", cancel}, {"embeddings", embeddings},
	}
	for _, each := range cases {
		problem := ""
		if err := each.run(); err != nil {
			problem = err.Error()
		}
		shown, _ := json.Marshal(problem)
		fmt.Printf("{\"case\": %q, \"problem\": %s}\n", each.name, shown)
	}
}
